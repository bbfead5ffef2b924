"""What a source hands out: frames of records, and what happens to its partitions."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Final, NamedTuple, TypeAlias

import polars as pl

from assay.domain.position import Partition, Range
from assay.domain.reject import RAW_LIMIT

RECORDS: Final = pl.Schema(
    {
        "partition": pl.String,
        "position": pl.Int64,
        "key": pl.Binary,
        "raw": pl.Binary,
        "length": pl.Int64,
        "sha256": pl.Binary,
        "occurrence": pl.UInt32,
        "fault": pl.String,
    }
)
"""One row a record, in the order read; the row's number is its name inside the chunk.

- `key`: the message's own key; null where the source has none.
- `raw`: the record's bytes as they came; beyond 1 MiB its head only.
- `length`, `sha256`: of the whole record; `sha256` is null unless `raw` was cut.
- `occurrence`: the number of equal records before it in its partition, given by sources whose
  records have no id of their own; null elsewhere.
- `fault`: the reject code of a fault that the source saw while it cut the records; else null.
"""


def with_heads(records: pl.DataFrame, limit: int = RAW_LIMIT) -> pl.DataFrame:
    """The same, but of records longer than a limit their heads, and the sha256 of the whole.

    Args:
        records: shaped as `RECORDS`, whole.
        limit: bytes.
    """
    is_long = records["length"] > limit
    if not is_long.any():
        return records
    digests = [
        sha256(raw).digest() if long and raw is not None else None
        for raw, long in zip(records["raw"], is_long, strict=True)
    ]
    return records.with_columns(
        raw=pl.when(is_long).then(pl.col("raw").bin.head(RAW_LIMIT)).otherwise("raw"),
        sha256=pl.Series(digests, dtype=pl.Binary),
        fault=pl.when(is_long).then(pl.lit("record_too_long")).otherwise("fault"),
    )


@dataclass(frozen=True)
class Chunk:
    """A frame of records on its way through, with at most one range per partition.

    Attributes:
        ranges: what the records cover; `read` counts the partition's rows in `records`.
        records: shaped as `RECORDS`, those of one partition in order of their position.
        headers: the raw header record of each partition that has one.
        traced: of records that their senders trace, by partition and position: the `traceparent`
            that came with them (W3C Trace Context).
        is_last: whether the source stops after it of its own accord, before the partition's end.
    """

    ranges: tuple[Range, ...]
    records: pl.DataFrame
    headers: Mapping[Partition, bytes] = field(default_factory=dict[Partition, bytes])
    is_last: bool = False
    traced: Mapping[tuple[Partition, int], str] = field(
        default_factory=dict[tuple[Partition, int], str]
    )

    def __post_init__(self) -> None:
        if len(self.partitions) != len(self.ranges):
            raise ValueError("a chunk holds at most one range per partition")
        if sum(each.read for each in self.ranges) != self.records.height:
            raise ValueError("the ranges of a chunk must count its records")

    @property
    def partitions(self) -> frozenset[Partition]:
        """The partitions that it holds a range of."""
        return frozenset(each.partition for each in self.ranges)

    @property
    def bytes(self) -> int:
        """The memory that its records take, about."""
        return int(self.records.estimated_size())

    def without(self, partitions: Collection[Partition]) -> "Chunk":
        """The rest of it once these partitions' ranges have left."""
        if self.partitions.isdisjoint(partitions):
            return self
        return replace(
            self,
            ranges=tuple(each for each in self.ranges if each.partition not in partitions),
            records=self.records.filter(~pl.col("partition").is_in(list(partitions))),
            traced={at: each for at, each in self.traced.items() if at[0] not in partitions},
        )


Originals: TypeAlias = Callable[[pl.DataFrame], pl.DataFrame]
"""What stands for some of a chunk's records in dead letters: both shaped as `RECORDS`.

It is asked when letters are made, since most records never need it.
"""


def as_they_are(records: pl.DataFrame) -> pl.DataFrame:
    """`Originals` of records that stand for themselves."""
    return records


class Decoded(NamedTuple):
    """A chunk's records, read.

    Attributes:
        candidates: `row` and the canonical columns.
        rejects: the other records, shaped as `REJECTS`.
        predictions: of candidates that were classified before, shaped as `PREDICTIONS`; None where
            the classifier is to be asked.
        originals: finds what stands for records in dead letters.
    """

    candidates: pl.DataFrame
    rejects: pl.DataFrame
    predictions: pl.DataFrame | None = None
    originals: Originals = as_they_are


@dataclass(frozen=True)
class Revoked:
    """These partitions now belong to another owner; what was handed out of them is void."""

    partitions: frozenset[Partition]


@dataclass(frozen=True)
class Idle:
    """Nothing to hand out just now: the source is paused, or has nothing new within a tick."""
