"""Whether today's traffic is like that on which the model was calibrated."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay_model.predict import Model

SIZE: Final = 20_000
"""Records that a window stands for, and that it waits for before it says anything."""

_HALF: Final = 0.5


@dataclass(frozen=True)
class Figures:
    """What answers look like as a whole.

    Attributes:
        mix: the share of each category, in the order of the taxonomy; they sum to 1.
        mean_confidence: in [0, 1].
        review_share: share of the records that need review.
        unseen_share: share of the records with a descriptor that training did not know; None
            where the model does not say.
    """

    mix: NDArray[np.float64]
    mean_confidence: float
    review_share: float
    unseen_share: float | None


def reference(model: Model, rows: pl.DataFrame) -> dict[str, Any]:
    """What a model's answers look like on traffic that it has not learnt from, as JSON.

    Training keeps it in the artifact's notes under `reference`. Answers, not labels, are counted,
    because answers are all that is known of the traffic it will be compared with.

    Args:
        model: fitted on earlier rows only; on rows that it knows it would be too sure of itself.
        rows: what `Model.predict` takes; the calibration rows, each as often as it occurs.

    Returns:
        `rows`, `categories` (rows of each category that occurs), `mean_confidence`,
        `review_share`, `unseen_share` (None where the model does not say).
    """
    window = Window(model.taxonomy.categories, size=rows.height)
    window.add(model.predict(rows))
    figures = window.figures()
    if figures is None:
        raise ValueError("there are no rows to take a reference from")
    counts = np.rint(figures.mix * rows.height).astype(int).tolist()
    return {
        "rows": rows.height,
        "categories": {
            name: count
            for name, count in zip(model.taxonomy.categories, counts, strict=True)
            if count
        },
        "mean_confidence": round(figures.mean_confidence, 4),
        "review_share": round(figures.review_share, 4),
        "unseen_share": None if figures.unseen_share is None else round(figures.unseen_share, 4),
    }


class Window:
    """The latest answers of one model, of which each counts a little less than the one after it.

    With every record the weight of all before it falls by the factor (n - 1) / (n + 1), so that
    together they say as much as n equal ones (n = Σw² / Σ(w²): Kish, Survey Sampling, 1965). The
    records of a call count alike. Safe to share between threads; memory and the cost of a call do
    not grow with the window.

    Attributes:
        size: n.
    """

    def __init__(self, categories: Sequence[str], size: int = SIZE) -> None:
        self.size = size
        self._categories = pl.Enum(categories)
        self._decay = (size - 1) / (size + 1)
        # Weight of each category; of confidence, needs_review, unseen; of the records themselves.
        self._mix = np.zeros(len(categories))
        self._sums = np.zeros(3)
        self._records = 0
        self._tells_seen = True
        self._lock = threading.Lock()

    def add(self, predictions: pl.DataFrame) -> None:
        """Counts the answers to a call.

        Args:
            predictions: `category`, `confidence`, `needs_review`, and `seen` (Boolean) where the
                model says whether training knew the descriptor; none null.
        """
        records = predictions.height
        if not records:
            return
        codes = predictions["category"].cast(self._categories).to_physical().to_numpy()
        mix = np.bincount(codes, minlength=self._mix.size)
        tells_seen = "seen" in predictions.columns
        sums = np.array(
            [
                predictions["confidence"].sum(),
                predictions["needs_review"].sum(),
                (~predictions["seen"]).sum() if tells_seen else 0,
            ],
            np.float64,
        )
        kept = self._decay**records
        # The sum of the weights that these records would have one after the other, for each alike.
        weight = (1 - kept) / (1 - self._decay) / records
        with self._lock:
            self._mix = self._mix * kept + mix * weight
            self._sums = self._sums * kept + sums * weight
            self._records += records
            self._tells_seen &= tells_seen

    def figures(self) -> Figures | None:
        """What the answers look like; None before `size` of them are in."""
        with self._lock:
            if self._records < self.size or not self._records:
                return None
            total = self._mix.sum()
            confidence, review, unseen = (self._sums / total).tolist()
            return Figures(
                mix=self._mix / total,
                mean_confidence=confidence,
                review_share=review,
                unseen_share=unseen if self._tells_seen else None,
            )


def drift(figures: Figures, size: int, usual: Mapping[str, Any], names: Sequence[str]) -> float:
    """The population stability index of the mix of categories against the reference's.

    Args:
        figures: of a window.
        size: the records that it stands for.
        usual: see `reference`.
        names: the categories, in the order of the mix.
    """
    before = np.array([usual["categories"].get(name, 0) for name in names], np.float64)
    return stability_index(figures.mix * size, before)


def stability_index(now: NDArray[np.float64], before: NDArray[np.float64]) -> float:
    """Σ (p - q) · ln(p / q) over the shares of two counts: Siddiqi, Credit Risk Scorecards, 2006.

    0 where the shares are equal. By custom below 0.1 is no change worth a word, above 0.2 a
    large one. Half a record is added to each class (Krichevsky and Trofimov, 1981), so that one
    that is empty in either has a finite say. Chance alone gives about (classes - 1) · (1 / rows
    now + 1 / rows before): Yurdakul, Statistical Properties of Population Stability Index, 2018.
    """
    shares = [(counts + _HALF) / (counts + _HALF).sum() for counts in (now, before)]
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())
