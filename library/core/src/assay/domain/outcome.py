"""A chunk sorted by doors, as a store commits it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from assay.domain.chunk import Originals, as_they_are
from assay.domain.position import TOPICS, Partition, Range
from assay.domain.prediction import PREDICTIONS
from assay.domain.reject import LETTERS
from assay.domain.transaction import TRANSACTIONS

CLASSIFIED: Final = pl.Schema(
    {
        **TRANSACTIONS,
        "content_hash": pl.Binary,
        **PREDICTIONS,
    }
)
"""One row a transaction with its prediction; `row` is its row in the chunk's records."""


@dataclass(frozen=True)
class Outcome:
    """What became of a chunk, before the store has seen which ids it knows already.

    Attributes:
        run_id: the run that asks for the commit.
        source: the source that the ranges belong to.
        destination: where relays publish the rejects.
        ranges: at most one per partition.
        records: the chunk's records (`RECORDS`), for those that become letters. After `without` it
            still holds the rows of partitions that left.
        headers: the raw header record of each partition that has one.
        classified: shaped as `CLASSIFIED`; records of the same id are in the order read.
        rejects: shaped as `REJECTS`, in the order read.
        accepts_rejects: whether the run's reject limit was raised, so that these ranges say
            nothing about the source's health later.
        originals: finds what stands in a letter for such a record.
    """

    run_id: str
    source: str
    destination: str
    ranges: tuple[Range, ...]
    records: pl.DataFrame
    classified: pl.DataFrame
    rejects: pl.DataFrame
    headers: Mapping[Partition, bytes] = field(default_factory=dict[Partition, bytes])
    accepts_rejects: bool = False
    originals: Originals = as_they_are

    def __post_init__(self) -> None:
        read = sum(each.read for each in self.ranges)
        if self.classified.height + self.rejects.height != read:
            raise ValueError(
                f"the books do not balance: {read} read, {self.classified.height} classified, "
                f"{self.rejects.height} rejected"
            )

    def without(self, partitions: Collection[Partition]) -> "Outcome":
        """The rest of it once these partitions' ranges have left."""
        ranges = tuple(each for each in self.ranges if each.partition not in partitions)
        if len(ranges) == len(self.ranges):
            return self
        of = self.records["partition"]
        gone = list(partitions)
        classified = self.classified.filter(~of.gather(self.classified["row"]).is_in(gone))
        rejects = self.rejects.filter(~of.gather(self.rejects["row"]).is_in(gone))
        return replace(self, ranges=ranges, classified=classified, rejects=rejects)


def letters(outcome: Outcome, rejects: pl.DataFrame) -> pl.DataFrame:
    """The dead letters of rejects.

    Args:
        outcome: the outcome that they belong to.
        rejects: its own, or others of its rows, shaped as `REJECTS`.

    Returns:
        Shaped as `LETTERS`, in the same order, `attempt` 1.
    """
    origin = outcome.originals(outcome.records[rejects["row"]]).select(
        "partition", "position", "key", "raw", "length", "sha256"
    )
    headers = pl.DataFrame(
        {"partition": list(outcome.headers), "header": list(outcome.headers.values())},
        schema={"partition": pl.String, "header": pl.Binary},
    )
    is_of_topic = outcome.source.startswith(TOPICS)
    topics = pl.DataFrame(
        [(each.partition, each.numbering if is_of_topic else None) for each in outcome.ranges],
        schema={"partition": pl.String, "topic_id": pl.String},
        orient="row",
    )
    return (
        pl.concat([origin, rejects.drop("row")], how="horizontal")
        .join(headers, on="partition", how="left", maintain_order="left")
        .join(topics, on="partition", how="left", maintain_order="left")
        .with_columns(
            source=pl.lit(outcome.source),
            attempt=pl.lit(1, pl.Int16),
            run_id=pl.lit(outcome.run_id),
            destination=pl.lit(outcome.destination),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in LETTERS.items())
    )
