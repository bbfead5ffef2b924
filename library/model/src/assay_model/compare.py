"""What another model would say of the same records: how much would change, and where.

Records are counted by both answers, reviews and currency. These counts stay few however many
records there are, and all that is told of records is made of them. Amounts are magnitudes: a
refund counts with the size of its own.
"""

from collections.abc import Iterable, Sequence
from typing import Final

import polars as pl

from assay_model.labels import LABEL
from assay_model.predict import Model
from assay_model.text import seen

COMPARED: Final = pl.Schema(
    {
        "before": pl.String,
        "after": pl.String,
        "review_before": pl.Boolean,
        "review_after": pl.Boolean,
        "currency": pl.String,
        "group": pl.String,
        "descriptor": pl.String,
        "records": pl.Int64,
        "amount": pl.Decimal(38, 2),
        "confidence_before": pl.Float64,
        "confidence_after": pl.Float64,
        "right_before": pl.Int64,
        "right_after": pl.Int64,
    }
)
"""Records with both answers, one a row or more: then what follows `descriptor` is their sum.

`group` is the feature hash of the earlier model, `descriptor` what it stands for. These two,
`currency` and `amount` may be null. Without known truths nothing is right."""

MOVES: Final = ("all", "another category", "into review", "out of review")

_PAIR: Final = ("before", "after")
_CELL: Final = (*_PAIR, "review_before", "review_after", "currency")
_GROUP: Final = (*_CELL, "group", "descriptor")
_SUMS: Final = tuple(name for name in COMPARED if name not in {*_GROUP, "amount"})
_KNOWN: Final = {"truth": LABEL, "amount": "amount", "currency": "currency"}
_CHANGED: Final = pl.col("before") != pl.col("after")
_MOST: Final = 500_000
_WAITING: Final = 250_000  # rows that are worth the work of merging them


def compared(
    before: Model, after: Model, rows: pl.DataFrame, *, descriptors: bool = False
) -> pl.DataFrame:
    """Asks two models the same.

    Args:
        before: the one that is served, say.
        after: the other; its taxonomy may be another one, categories are the same by name.
        rows: what `Model.predict` takes, and `amount`, `currency` and `category`, which is the
            true one, where they are known.
        descriptors: whether those are told whose category changes.

    Returns:
        A row of `COMPARED` for each, in the same order.
    """
    first, second = before.predict(rows), after.predict(rows)
    both = pl.DataFrame(
        {
            "before": first["category"].cast(pl.String),
            "after": second["category"].cast(pl.String),
            "review_before": first["needs_review"],
            "review_after": second["needs_review"],
            "group": first["feature_hash"],
            "confidence_before": first["confidence"],
            "confidence_after": second["confidence"],
        }
    )
    known = {name: rows[column] for name, column in _KNOWN.items() if column in rows.columns}
    unknown = {name: pl.lit(None, pl.String) for name in _KNOWN if name not in known}
    right = {
        f"right_{each}": pl.col(each).eq(pl.col("truth")).fill_null(value=False) for each in _PAIR
    }
    told = both.with_columns(**known, **unknown).with_columns(
        pl.col("amount").cast(COMPARED["amount"]).abs(), records=1, **right
    )
    if descriptors:
        told = told.join(_descriptors(both, rows), on="group", how="left", maintain_order="left")
    else:
        told = told.with_columns(descriptor=None)
    return told.select(pl.col(name).cast(dtype) for name, dtype in COMPARED.items())


def _descriptors(both: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """`group` and `descriptor` of those whose category changes; equal ones are normalised once."""
    which = both.with_row_index("row").filter(_CHANGED).unique("group", keep="any")
    texts = rows.select(pl.col("^(description|merchant)$"))[which["row"]]
    return which.select("group", seen(texts).alias("descriptor"))


class Comparison:
    """All that was compared so far, in bounded memory."""

    def __init__(self, *, groups: bool, most: int = _MOST) -> None:
        """Begins with nothing.

        Args:
            groups: whether descriptors whose category changes are kept.
            most: how many of them, about; beyond, those of the fewest records are let go.
        """
        none = pl.DataFrame(schema=COMPARED)
        self._cells = _summed((none,), _CELL)
        self._groups = _summed((none,), _GROUP)
        self._waiting: list[pl.DataFrame] = []
        self._keeps, self._most, self._let_go = groups, most, 0

    def add(self, rows: pl.DataFrame) -> None:
        """Counts some more rows of `COMPARED`."""
        self._cells = _summed((self._cells, _summed((rows,), _CELL)), _CELL)
        if self._keeps:
            self._waiting.append(_summed((rows.filter(_CHANGED),), _GROUP))
            if sum(each.height for each in self._waiting) >= _WAITING:
                self._merge()

    @property
    def cells(self) -> pl.DataFrame:
        """All records, as `COMPARED` without group and descriptor, few rows."""
        return self._cells

    @property
    def groups(self) -> pl.DataFrame:
        """Records whose category changes, as `COMPARED`, by descriptor; none if not kept."""
        self._merge()
        return self._groups

    @property
    def let_go(self) -> int:
        """Records whose category changes and that are not among `groups`."""
        self._merge()
        return self._let_go

    def _merge(self) -> None:
        merged = _summed((self._groups, *self._waiting), _GROUP)
        self._waiting.clear()
        if merged.height > self._most:
            merged = merged.sort("records", "group", descending=[True, False])
            self._let_go += int(merged["records"].slice(self._most).sum())
            merged = merged.head(self._most)
        self._groups = merged


def moves(cells: pl.DataFrame) -> pl.DataFrame:
    """How much there is in all, changes its category, and moves into or out of review.

    Args:
        cells: of a `Comparison`.

    Returns:
        `currency` (may be null), `move` (of `MOVES`), `records`, `amount` (null where none has
        one): the currency of the most records first, each with all moves in their order.
    """
    into = ~pl.col("review_before") & pl.col("review_after")
    out = pl.col("review_before") & ~pl.col("review_after")
    held = dict(zip(MOVES, (pl.lit(value=True), _CHANGED, into, out), strict=True))
    by_currency = cells.group_by("currency").agg(
        *(
            pl.col("records").filter(each).sum().alias(f"{move}/records")
            for move, each in held.items()
        ),
        *(_amount(each).alias(f"{move}/amount") for move, each in held.items()),
    )
    by_currency = by_currency.sort("all/records", "currency", descending=[True, False])
    parts = [
        by_currency.with_row_index("place").select(
            "place",
            "currency",
            pl.lit(move, pl.Enum(MOVES)).alias("move"),
            pl.col(f"{move}/records").alias("records"),
            pl.col(f"{move}/amount").alias("amount"),
        )
        for move in MOVES
    ]
    return pl.concat(parts).sort("place", "move").drop("place")


def changes(rows: pl.DataFrame, *, by_group: bool = False) -> pl.DataFrame:
    """From which category to which other one, the most records first.

    Args:
        rows: cells or groups of a `Comparison`.
        by_group: whether each descriptor stands for itself; rows are groups then.

    Returns:
        `before`, `after`, `records`, `amounts` (a list of `currency` and `amount`, the greatest
        number of records first), the means `confidence_before` and `confidence_after`,
        `right_before`, `right_after`; by group also `group` and `descriptor`, and `review_before`
        and `review_after`.
    """
    by = _PAIR
    if by_group:
        by = ("group", "descriptor", *_PAIR, "review_before", "review_after")
    other = rows.filter(_CHANGED)
    amounts = (
        _summed((other,), (*by, "currency"))
        .drop_nulls("amount")
        .sort("records", "currency", descending=[True, False])
        .group_by(by, maintain_order=True)
        .agg(amounts=pl.struct("currency", "amount"))
    )
    mean = pl.col("confidence_before", "confidence_after") / pl.col("records")
    return (
        _summed((other,), by)
        .join(amounts, on=by, how="left", nulls_equal=True)
        .with_columns(mean, pl.col("amounts").fill_null([]))
        .drop("amount")
        .sort("records", *by, descending=[True, *(False for _ in by)])
    )


def categories(cells: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """How much each category has before and after.

    Args:
        cells: of a `Comparison`.
        names: the categories of both models, in the order that is wanted.

    Returns:
        `category` and the records `before` and `after` of those that have some; `amounts` (a list
        of `currency`, `before` and `after`).
    """
    key = ("category", "currency")
    sides = [
        cells.group_by(pl.col(side).alias("category"), "currency").agg(
            pl.col("records").sum().alias(side), _amount().alias(f"amount_{side}")
        )
        for side in _PAIR
    ]
    both = (
        sides[0]
        .join(sides[1], on=key, how="full", coalesce=True, nulls_equal=True)
        .with_columns(pl.col("category").cast(pl.Enum(names)), pl.col(_PAIR).fill_null(0))
        .sort("category", pl.max_horizontal(_PAIR), "currency", descending=[False, True, False])
    )
    amounts = [pl.col(f"amount_{side}").alias(side) for side in _PAIR]
    some = pl.any_horizontal(each.is_not_null() for each in amounts)
    struct = pl.struct("currency", *(each.fill_null(0) for each in amounts))
    return both.group_by("category", maintain_order=True).agg(
        pl.col(_PAIR).sum(), amounts=struct.filter(some)
    )


def _summed(frames: Iterable[pl.DataFrame], by: Sequence[str]) -> pl.DataFrame:
    return (
        pl.concat(frame.select(*by, *_SUMS, "amount") for frame in frames)
        .group_by(by)
        .agg(pl.col(_SUMS).sum(), _amount())
    )


def _amount(held: pl.Expr | None = None) -> pl.Expr:
    """The sum of the amounts; null where there is none."""
    amount = pl.col("amount") if held is None else pl.col("amount").filter(held)
    return pl.when(amount.count() > 0).then(amount.sum()).alias("amount")
