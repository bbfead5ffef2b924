"""What a store decides of an outcome once it knows which of its ids stand already."""

from typing import Final, NamedTuple

import polars as pl

from assay.domain.outcome import Outcome
from assay.domain.reject import faults
from assay.domain.tally import Tally

KNOWN: Final = pl.Schema({"transaction_id": pl.String, "content_hash": pl.Binary})
"""The content that stands under each of these ids, which are distinct."""


class Settled(NamedTuple):
    """Classified records by door, in their order.

    Attributes:
        new: to be kept, each id once; shaped as they came.
        duplicates: the same content stands under their id; shaped as they came.
        rejects: other content stands under their id; shaped as `REJECTS`.
    """

    new: pl.DataFrame
    duplicates: pl.DataFrame
    rejects: pl.DataFrame


def nothing_known() -> pl.DataFrame:
    """An empty frame shaped as `KNOWN`."""
    return pl.DataFrame(schema=KNOWN)


def settle(classified: pl.DataFrame, known: pl.DataFrame) -> Settled:
    """Sorts records by what stands under their id: what is known, else the first record with it.

    Args:
        classified: shaped as `CLASSIFIED`, or with further columns.
        known: shaped as `KNOWN`; may hold other ids too.
    """
    if known.is_empty() and _are_distinct(classified["transaction_id"]):
        nothing = classified.clear()
        return Settled(classified, nothing, _conflicts(nothing))
    first = pl.col("transaction_id").is_first_distinct()
    standing = (
        pl.concat([known, classified.filter(first).select(KNOWN.names())])
        .unique("transaction_id", keep="first", maintain_order=True)
        .rename({"content_hash": "standing"})
    )
    new = first & ~pl.col("transaction_id").is_in(known["transaction_id"].implode())
    judged = classified.with_columns(new.alias("new")).join(
        standing, on="transaction_id", how="left", maintain_order="left"
    )
    same = pl.col("content_hash") == pl.col("standing")
    new, duplicates, conflicts = (
        judged.filter(door).select(classified.columns)
        for door in (pl.col("new"), ~pl.col("new") & same, ~pl.col("new") & ~same)
    )
    return Settled(new, duplicates, _conflicts(conflicts))


def _are_distinct(ids: pl.Series) -> bool:
    """Whether no id comes twice; quick where they are in order, as they usually are."""
    if ids.is_sorted():
        return not (ids == ids.shift()).any()
    return ids.is_unique().all()


def _conflicts(records: pl.DataFrame) -> pl.DataFrame:
    return faults(
        records.select(
            "row",
            "transaction_id",
            code=pl.lit("conflicting_duplicate"),
            field=pl.lit("transaction_id"),
            message=pl.lit("this id is known with other content"),
        ),
        stage="commit",
    )


def tallies(outcome: Outcome, settled: Settled) -> tuple[Tally, ...]:
    """The tally of each range of an outcome, in the order of its ranges.

    Args:
        outcome: the outcome, whose own rejects count too.
        settled: its classified records.
    """
    of = outcome.records["partition"]

    def count(rows: pl.DataFrame) -> dict[str, int]:
        return dict(of.gather(rows["row"]).value_counts().iter_rows())

    classified = count(settled.new)
    rejected = count(pl.concat([outcome.rejects, settled.rejects]))
    duplicate = count(settled.duplicates)
    needs_review = count(settled.new.filter("needs_review"))
    return tuple(
        Tally(
            each.read,
            classified.get(each.partition, 0),
            rejected.get(each.partition, 0),
            duplicate.get(each.partition, 0),
            needs_review.get(each.partition, 0),
        )
        for each in outcome.ranges
    )
