"""Measures over judged rows, each with its source; none knows how a model works.

Judged rows are a frame with the columns of `JUDGED`, of which the first four hold no null.
"""

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

JUDGED: Final = ("truth", "predicted", "confidence", "needs_review", "group", "amount", "currency")
"""`truth` and `predicted` (the same Enum), `confidence` (Float64), `needs_review` (Boolean),
`group` (rows of one merchant share it), `amount` (Float64), `currency` (String; with `amount`)."""

BINS: Final = 15
FEW: Final = 20
"""Below this many rows a category's F1 is mostly chance."""

_POINTS: Final = 100
_Z: Final = 1.959964  # the normal distribution's 97.5 % quantile

Flags: TypeAlias = NDArray[np.bool_]
Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Where a share lies with a confidence of 95 %, in [0, 1]."""

    low: float
    high: float


def wilson(hits: float, rows: float) -> Interval:
    """The score interval of a share of independent rows; [0, 1] where there is none.

    Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    if rows <= 0:
        return Interval(0.0, 1.0)
    share, square = hits / rows, _Z * _Z
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    half = _Z * np.sqrt(share * (1 - share) / rows + square / (4 * rows * rows))
    half /= 1 + square / rows
    return Interval(max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def clustered(right: Flags, group: NDArray[Any]) -> Interval:
    """The score interval of a share where rows of one group stand or fall together.

    A thousand payments to one shop are not a thousand witnesses. Wilson's interval is taken at the
    effective number of rows: their number, divided by how much larger the variance of the share
    is between groups than it would be between independent rows (Kish, "Survey Sampling", 1965;
    Dean and Pagano, "Evaluating Confidence Interval Methods for Binomial Proportions in Clustered
    Surveys", 2015). It is no less than one and no more than there are rows; where all rows are
    right, or none, it is the number of groups.

    Args:
        right: at least one row.
        group: of each row.
    """
    _, of = np.unique(group, return_inverse=True)
    sizes = np.bincount(of)
    share = float(right.mean())
    independent = share * (1 - share) / right.size
    if not independent or sizes.size == 1:
        effective = float(sizes.size)
    else:
        gaps = np.bincount(of, weights=right) - share * sizes
        between = float(gaps @ gaps) / right.size**2 * sizes.size / (sizes.size - 1)
        effective = right.size / max(1.0, between / independent)
    effective = max(1.0, effective)
    return wilson(share * effective, effective)


def by_category(judged: pl.DataFrame) -> pl.DataFrame:
    """How each category fares that is among the truths or the answers, in the taxonomy's order.

    Returns:
        `category`; `rows` of this truth, `answered` with it, `hits` of both; `precision` (null
        where it is never answered), `recall` (null where it is never the truth), `f1`;
        `confidence`, the mean over the answers (null where there are none), which is the
        precision where confidence is calibrated.
    """
    hit = (pl.col("truth") == pl.col("predicted")).sum()
    labelled = judged.group_by(category="truth").agg(rows=pl.len(), hits=hit)
    answers = judged.group_by(category="predicted").agg(
        answered=pl.len(), confidence=pl.col("confidence").sort().mean()
    )
    rows, answered, hits = (pl.col(name) for name in ("rows", "answered", "hits"))
    return (
        labelled.join(answers, on="category", how="full", coalesce=True)
        .with_columns(pl.col("rows", "answered", "hits").fill_null(0).cast(pl.Int64))
        .select(
            "category",
            "rows",
            "answered",
            "hits",
            precision=pl.when(answered > 0).then(hits / answered),
            recall=pl.when(rows > 0).then(hits / rows),
            f1=2 * hits / (rows + answered),
            confidence="confidence",
        )
        .sort("category")
    )


def macro_f1(categories: pl.DataFrame, least: int = 1) -> float | None:
    """The mean F1 over the categories of which at least so many rows are the truth; None of none.

    Sokolova and Lapalme, "A systematic analysis of performance measures for classification
    tasks", 2009; the mean of the categories' F1, not the F1 of their mean precision and recall.

    Args:
        categories: see `by_category`.
        least: rows that a category needs to count.
    """
    found = categories.filter(pl.col("rows") >= least)["f1"]
    return None if found.is_empty() else float(found.to_numpy().mean())


def reliability(right: Flags, confidence: Numbers) -> pl.DataFrame:
    """Confidence against accuracy, in 15 bins of equal width, without the empty ones.

    DeGroot and Fienberg, "The Comparison and Evaluation of Forecasters", 1983.

    Returns:
        `least` (where the bin begins), `rows`, `confidence` and `accuracy` (means).
    """
    places = _bins(confidence)
    rows = np.bincount(places, minlength=BINS)
    sums = np.bincount(places, weights=confidence, minlength=BINS)
    hits = np.bincount(places, weights=right, minlength=BINS)
    some = np.flatnonzero(rows)
    return pl.DataFrame(
        {
            "least": some / BINS,
            "rows": rows[some],
            "confidence": sums[some] / rows[some],
            "accuracy": hits[some] / rows[some],
        }
    )


def calibration_error(right: Flags, confidence: Numbers) -> float:
    """Expected calibration error over 15 bins of equal width.

    The mean distance between confidence and accuracy within a bin, weighted by its rows: Guo et
    al., "On Calibration of Modern Neural Networks", 2017, equation 3.
    """
    gaps = np.bincount(_bins(confidence), weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / right.size)


def curve(right: Flags, confidence: Numbers) -> pl.DataFrame:
    """What share is accepted by each threshold on confidence, and what share of that is right.

    El-Yaniv and Wiener, "On the Foundations of Noise-free Selective Classification", 2010: the
    risk-coverage curve, with accuracy for risk. Rows of equal confidence are accepted together;
    of many thresholds about a hundred are told, spread over the coverage, the last one included.

    Returns:
        `threshold`, `coverage`, `accuracy`, by rising coverage.
    """
    threshold, accepted, hits = _accepted(right, confidence)
    coverage = accepted / right.size
    # The first threshold at or above each of the coverages that are told.
    told = np.unique(np.searchsorted(coverage, np.arange(1, _POINTS + 1) / _POINTS - 1e-12))
    told = told[told < coverage.size]
    return pl.DataFrame(
        {
            "threshold": threshold[told],
            "coverage": coverage[told],
            "accuracy": hits[told] / accepted[told],
        }
    )


def accepting(right: Flags, confidence: Numbers, accuracy: float) -> float:
    """The lowest confidence from which on at least this share of the rows is right.

    Rows of equal confidence are accepted together. Infinite where no threshold does it.
    """
    threshold, accepted, hits = _accepted(right, confidence)
    enough = np.flatnonzero(hits / accepted >= accuracy)
    return float(threshold[enough[-1]]) if enough.size else float("inf")


def _bins(confidence: Numbers) -> NDArray[np.int64]:
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def _accepted(right: Flags, confidence: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """The thresholds that differ, falling; what each accepts, and how much of this is right."""
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], np.True_))
    return (
        ranked[last],
        (last + 1).astype(np.float64),
        np.cumsum(right[order])[last].astype(np.float64),
    )


def confusion(judged: pl.DataFrame) -> pl.DataFrame:
    """The confusion matrix as a list of its cells that are not empty.

    Returns:
        `truth`, `predicted`, `rows`, and `share` of the rows of this truth; most rows first, then
        in the taxonomy's order.
    """
    return (
        judged.group_by("truth", "predicted")
        .agg(rows=pl.len().cast(pl.Int64))
        .with_columns(share=pl.col("rows") / pl.col("rows").sum().over("truth"))
        .sort("rows", "truth", "predicted", descending=[True, False, False])
    )


def costs(judged: pl.DataFrame) -> pl.DataFrame:
    """What lies in a wrong category by amount, refunds with the size of theirs, by currency.

    Returns:
        `currency` (null where the rows name none); `amount` in all, `wrong` of it; `accepted` of
        it without a review, `accepted_wrong` of that. In units of the currency, rounded to cents;
        the largest first. Empty where no row has an amount.
    """
    size, wrong = pl.col("amount").abs(), pl.col("truth") != pl.col("predicted")
    accepted = ~pl.col("needs_review")
    return (
        judged.drop_nulls("amount")
        .group_by("currency")
        .agg(
            amount=_cents(size),
            wrong=_cents(size.filter(wrong)),
            accepted=_cents(size.filter(accepted)),
            accepted_wrong=_cents(size.filter(accepted & wrong)),
        )
        .sort("amount", "currency", descending=[True, False])
    )


def _cents(amounts: pl.Expr) -> pl.Expr:
    # As whole cents, so that the order of the rows does not show in the last digits.
    return (amounts * 100).round(0).cast(pl.Int64).sum() / 100
