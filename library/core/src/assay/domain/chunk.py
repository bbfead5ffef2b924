"""What a source hands out: frames of records, and what happens to its partitions."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from assay.domain.position import Partition, Range

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


@dataclass(frozen=True)
class Chunk:
    """A frame of records on its way through, with at most one range per partition.

    Attributes:
        ranges: what the records cover; `read` counts the partition's rows in `records`.
        records: shaped as `RECORDS`, those of one partition in order of their position.
        headers: the raw header record of each partition that has one.
        is_last: whether the source stops after it of its own accord, before the partition's end.
    """

    ranges: tuple[Range, ...]
    records: pl.DataFrame
    headers: Mapping[Partition, bytes] = field(default_factory=dict[Partition, bytes])
    is_last: bool = False

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
        )


@dataclass(frozen=True)
class Revoked:
    """These partitions now belong to another owner; what was handed out of them is void."""

    partitions: frozenset[Partition]


@dataclass(frozen=True)
class Idle:
    """Nothing to hand out just now: the source is paused, or has nothing new within a tick."""
