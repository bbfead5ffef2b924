"""Ways to part labelled rows into some to learn from and some to judge by."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay_model.features import fingerprints

FOLDS: Final = 5
_MERCHANT_LETTERS: Final = 8


def merchant(description: pl.Expr) -> pl.Expr:
    """Who a description stands for, roughly: the first eight letters, upper-cased, A to Z only."""
    letters = description.str.to_uppercase().str.replace_all("[^A-Z]", "")
    return letters.str.head(_MERCHANT_LETTERS)


def never_seen(learnt: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of merchants of which there is no row among those learnt.

    Args:
        learnt: has `description`.
        rows: has `description`; other columns are kept.
    """
    whose = merchant(pl.col("description"))
    known = learnt.select(merchant=whose).unique()
    return (
        rows.with_columns(merchant=whose)
        .join(known, on="merchant", how="anti", maintain_order="left")
        .drop("merchant")
    )


def strings(rows: pl.DataFrame) -> pl.DataFrame:
    """Each distinct description once, with the category that it has most often.

    Of equally frequent ones the first by name. Sorted by description.

    Args:
        rows: has `description` and `category`.
    """
    return (
        rows.group_by("description", "category")
        .agg(count=pl.len())
        .sort("description", "count", "category", descending=[False, True, False])
        .unique("description", keep="first", maintain_order=True)
        .drop("count")
    )


def by_merchant(rows: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """Grouped cross-validation: in each of five folds, other merchants are held out.

    The folds follow from the merchants' names alone, so that they are the same for any rows.

    Args:
        rows: has `description` and `category`; other columns are kept.

    Yields:
        The rows to learn from, as they are, and the `strings` of the others.
    """
    fold = _fold(rows.select(merchant(pl.col("description"))).to_series())
    for number in range(FOLDS):
        held_out = pl.Series(fold == number)
        if held_out.any():
            yield rows.filter(~held_out), strings(rows.filter(held_out))


def at_random(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A fifth of the rows held out by chance, as if they came from other customers: leaky.

    Most of them have a twin among the rows to learn from. The chance is the same each time.
    """
    held_out = pl.Series(np.random.default_rng(0).permutation(rows.height) % FOLDS == 0)
    return rows.filter(~held_out), rows.filter(held_out)


def _fold(merchants: pl.Series) -> NDArray[np.uint64]:
    return fingerprints(merchants) % np.uint64(FOLDS)
