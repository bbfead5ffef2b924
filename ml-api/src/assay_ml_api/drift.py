"""Tells how the latest answers compare with those at training."""

import threading
import traceback
from collections.abc import Callable

import polars as pl
import structlog

from assay.ports.meter import Meter
from assay_ml_api import metrics
from assay_ml_api.predict import Model
from assay_model.drift import SIZE, Figures, Window, drift

_log = structlog.stdlib.get_logger(__name__)


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
        self._failed = False

    def add(self, model: Model, predictions: pl.DataFrame) -> None:
        """Counts the answers to one call; those of a model that is served no more are left out.

        Never fails: a version of which drift cannot be told has no gauges, which is logged once.
        """
        version = _trained(model)
        if version != _trained(self._served()):
            return
        with self._lock:
            if self._window is None or version != self._version:
                self._forget()
                self._version = version
                self._window = Window(model.taxonomy.categories, self._size)
                self._failed = False
            if self._failed:
                return
            try:
                self._window.add(predictions)
                if figures := self._window.figures():
                    self._tell(model, version, figures)
            # A panic of polars is no Exception.
            except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - answers matter more
                self._failed = True
                self._forget()
                at = traceback.extract_tb(error.__traceback__)[-1]
                _log.error(
                    "drift cannot be told",
                    version=version,
                    error=type(error).__name__,
                    at=f"{at.filename}:{at.lineno}",
                )

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
