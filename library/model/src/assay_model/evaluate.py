"""How good predictions are, and how far their confidence can be believed."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.domain.taxonomy import Taxonomy
from assay_model.predict import Model

BINS: Final = 15


@dataclass(frozen=True)
class Figures:
    """What was measured over labelled rows; all but `rows` in [0, 1].

    Attributes:
        rows: how many were judged.
        accuracy: share of rows whose category is right.
        macro_f1: mean of F1 over the categories that occur among the labels.
        calibration_error: see `calibration_error`.
        coverage_at_95: largest share of rows that a threshold on confidence accepts with at least
            95 % of them right.
        accepted: share of rows that the model's own threshold spares a review.
        accepted_accuracy: share of these that is right; 1 where there is none.
    """

    rows: int
    accuracy: float
    macro_f1: float
    calibration_error: float
    coverage_at_95: float
    accepted: float
    accepted_accuracy: float


def evaluate(model: Model, rows: pl.DataFrame) -> Figures:
    """Measures a model on labelled rows.

    Args:
        model: whose taxonomy holds every label.
        rows: `description` and `category`, both String without nulls; at least one row.
    """
    predictions = model.predict(rows.drop("category"))
    truth = codes(rows["category"], model.taxonomy)
    predicted = codes(predictions["category"], model.taxonomy)
    confidence = predictions["confidence"].to_numpy()
    right = truth == predicted
    accepted = ~predictions["needs_review"].to_numpy()
    return Figures(
        rows=rows.height,
        accuracy=float(right.mean()),
        macro_f1=macro_f1(truth, predicted),
        calibration_error=calibration_error(right, confidence),
        coverage_at_95=float((confidence >= accepting(right, confidence, 0.95)).mean()),
        accepted=float(accepted.mean()),
        accepted_accuracy=float(right[accepted].mean()) if accepted.any() else 1.0,
    )


def codes(categories: pl.Series, taxonomy: Taxonomy) -> NDArray[np.int64]:
    """Each category's place in the taxonomy."""
    places = categories.cast(pl.Enum(taxonomy.categories)).to_physical()
    return places.to_numpy().astype(np.int64)


def macro_f1(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """The mean over the labels' categories of 2·hits / (labelled + predicted)."""
    size = int(max(truth.max(), predicted.max())) + 1
    labelled = np.bincount(truth, minlength=size)
    answered = np.bincount(predicted, minlength=size)
    hits = np.bincount(truth[truth == predicted], minlength=size)
    occurs = labelled > 0
    return float((2 * hits[occurs] / (labelled + answered)[occurs]).mean())


def calibration_error(right: NDArray[np.bool_], confidence: NDArray[np.float64]) -> float:
    """Expected calibration error over 15 bins of equal width.

    The mean distance between confidence and accuracy within a bin, weighted by its rows: Guo et
    al., "On Calibration of Modern Neural Networks", 2017, equation 3.
    """
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gaps = np.bincount(bins, weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / right.size)


def accepting(right: NDArray[np.bool_], confidence: NDArray[np.float64], accuracy: float) -> float:
    """The lowest confidence from which on at least this share of the rows is right.

    Rows of equal confidence are accepted together. Infinite where no threshold does it.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    share = np.cumsum(right[order]) / np.arange(1, right.size + 1)
    last_of_equals = np.append(ranked[1:] != ranked[:-1], np.True_)
    enough = np.flatnonzero(last_of_equals & (share >= accuracy))
    return float(ranked[enough[-1]]) if enough.size else float("inf")
