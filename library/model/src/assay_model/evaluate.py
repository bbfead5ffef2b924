"""How good a model's answers are, and how far their confidence can be believed."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.domain.taxonomy import Taxonomy
from assay_model.measures import (
    FEW,
    accepting,
    by_category,
    calibration_error,
    clustered,
    costs,
    macro_f1,
)
from assay_model.predict import Model
from assay_model.splits import merchant

_DIGITS: Final = 6


@dataclass(frozen=True)
class Figures:
    """What was measured over labelled rows; shares in [0, 1], rounded to six digits.

    Attributes:
        rows: how many were judged.
        descriptors: how many distinct descriptions they have.
        merchants: how many distinct merchants, see `assay_model.splits.merchant`.
        accuracy: share of rows whose category is right.
        accuracy_low: where it lies with a confidence of 95 %, at least: see
            `assay_model.measures.clustered`, by merchant.
        accuracy_high: the same, at most.
        categories: how many occur among the labels.
        common: how many of these have 20 rows or more.
        macro_f1: mean of F1 over these; None where there are none.
        calibration_error: see `assay_model.measures.calibration_error`.
        coverage_at_90: largest share of rows that a threshold on confidence accepts with at least
            90 % of them right.
        coverage_at_95: the same with 95 %.
        coverage_at_98: the same with 98 %.
        accepted: share of rows that the model's own threshold spares a review.
        accepted_accuracy: share of these that is right; 1 where there is none.
        wrong_amount: share of the amount that lies in a wrong category, refunds with the size of
            theirs; of the currency with the largest sum. None where rows have no amount.
        accepted_wrong_amount: the same of the accepted rows.
    """

    rows: int
    descriptors: int
    merchants: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    categories: int
    common: int
    macro_f1: float | None
    calibration_error: float
    coverage_at_90: float
    coverage_at_95: float
    coverage_at_98: float
    accepted: float
    accepted_accuracy: float
    wrong_amount: float | None
    accepted_wrong_amount: float | None


def evaluate(model: Model, rows: pl.DataFrame) -> Figures:
    """Measures a model on labelled rows.

    Args:
        model: whose taxonomy holds every label.
        rows: see `judge`; at least one.
    """
    return figures(judge(model, rows))


def judge(model: Model, rows: pl.DataFrame) -> pl.DataFrame:
    """What a model says of labelled rows, beside what is true.

    Args:
        model: whose taxonomy holds every label. It sees all columns but the label.
        rows: `description` and `category`, both String without nulls; may have `amount`,
            `currency` and whatever else the model takes.

    Returns:
        The columns of `assay_model.measures.JUDGED` and `descriptor`, in the order of the rows.
        `descriptor` and `group` are numbers, which hold nothing of a description.
    """
    answers = model.predict(rows.drop("category"))
    categories = pl.Enum(model.taxonomy.categories)
    columns = rows.columns

    def column(name: str, dtype: type[pl.DataType]) -> pl.Expr:
        return (pl.col(name) if name in columns else pl.lit(None)).cast(dtype)

    return rows.select(
        pl.col("category").cast(categories).alias("truth"),
        answers["category"].alias("predicted"),
        answers["confidence"],
        answers["needs_review"],
        merchant(pl.col("description")).rank("dense").alias("group"),
        column("amount", pl.Float64).alias("amount"),
        column("currency", pl.String).alias("currency"),
        pl.col("description").rank("dense").alias("descriptor"),
    )


def figures(judged: pl.DataFrame) -> Figures:
    """The figures of judged rows, of which there is at least one.

    Args:
        judged: see `judge`.
    """
    right = (judged["truth"] == judged["predicted"]).to_numpy()
    confidence = judged["confidence"].to_numpy()
    accepted = ~judged["needs_review"].to_numpy()
    interval = clustered(right, judged["group"].to_numpy())
    categories = by_category(judged)
    common = macro_f1(categories, FEW)
    sums: dict[str, float] = {}
    for row in costs(judged).head(1).drop("currency").iter_rows(named=True):
        sums = row

    def coverage(accuracy: float) -> float:
        return rounded((confidence >= accepting(right, confidence, accuracy)).mean())

    return Figures(
        rows=judged.height,
        descriptors=judged["descriptor"].n_unique(),
        merchants=judged["group"].n_unique(),
        accuracy=rounded(right.mean()),
        accuracy_low=rounded(interval.low),
        accuracy_high=rounded(interval.high),
        categories=categories.filter(pl.col("rows") > 0).height,
        common=categories.filter(pl.col("rows") >= FEW).height,
        macro_f1=None if common is None else rounded(common),
        calibration_error=rounded(calibration_error(right, confidence)),
        coverage_at_90=coverage(0.90),
        coverage_at_95=coverage(0.95),
        coverage_at_98=coverage(0.98),
        accepted=rounded(accepted.mean()),
        accepted_accuracy=rounded(right[accepted].mean()) if accepted.any() else 1.0,
        wrong_amount=_part(sums.get("wrong"), sums.get("amount")),
        accepted_wrong_amount=_part(sums.get("accepted_wrong"), sums.get("accepted")),
    )


def rounded(number: float | np.floating) -> float:
    """A figure as it is told: the last digits depend on the order in which rows were added up."""
    return round(float(number), _DIGITS)


def codes(categories: pl.Series, taxonomy: Taxonomy) -> NDArray[np.int64]:
    """Each category's place in the taxonomy."""
    places = categories.cast(pl.Enum(taxonomy.categories)).to_physical()
    return places.to_numpy().astype(np.int64)


def _part(part: float | None, whole: float | None) -> float | None:
    return rounded(part / whole) if part is not None and whole else None
