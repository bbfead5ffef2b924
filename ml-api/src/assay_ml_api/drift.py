"""Tells how the latest answers compare with those at training."""

import threading
from collections.abc import Callable

import polars as pl

from assay.ports.meter import Meter
from assay_ml_api import metrics
from assay_ml_api.predict import Model
from assay_model.drift import SIZE, Figures, Window, drift


class Drift:
    """A window over the answers of the model that is served, and its gauges.

    A gauge appears when the window is full, and goes with its model: the window of the next one
    begins empty. Corrections change a version's end (`+…`) but not what it was trained on, so
    they leave the window as it is.
    """

    def __init__(self, served: Callable[[], Model], meter: Meter, size: int = SIZE) -> None:
        self._served = served
        self._meter = meter
        self._size = size
        self._lock = threading.Lock()
        self._version = ""
        self._window: Window | None = None

    def add(self, model: Model, predictions: pl.DataFrame) -> None:
        """Counts the answers to one call; those of a model that is served no more are left out."""
        version = _trained(model)
        if version != _trained(self._served()):
            return
        with self._lock:
            if self._window is None or version != self._version:
                self._forget()
                self._version = version
                self._window = Window(model.taxonomy.categories, self._size)
            self._window.add(predictions)
            if figures := self._window.figures():
                self._tell(model, version, figures)

    def _forget(self) -> None:
        for metric in metrics.DRIFT:
            self._meter.unset(metric, version=self._version)

    def _tell(self, model: Model, version: str, figures: Figures) -> None:
        usual = model.reference or {}
        told = {
            metrics.MEAN_CONFIDENCE: figures.mean_confidence,
            metrics.MEAN_CONFIDENCE_REFERENCE: usual.get("mean_confidence"),
            metrics.REVIEW_SHARE: figures.review_share,
            metrics.REVIEW_SHARE_REFERENCE: usual.get("review_share"),
            metrics.UNSEEN_SHARE: figures.unseen_share,
            metrics.UNSEEN_SHARE_REFERENCE: usual.get("unseen_share"),
        }
        if usual:
            categories = model.taxonomy.categories
            told[metrics.DRIFT_PSI] = drift(figures, self._size, usual, categories)
        for metric, value in told.items():
            if value is not None:
                self._meter.set(metric, value, version=version)


def _trained(model: Model) -> str:
    return model.version.partition("+")[0]
