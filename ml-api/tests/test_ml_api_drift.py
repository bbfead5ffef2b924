"""The gauges of drift: there when there is something to say, of the model that is served."""

from collections.abc import Callable
from typing import Any

import httpx
import polars as pl
import pytest
from structlog.testing import capture_logs

from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay.memory.meter import MemoryMeter
from assay_adapters.prometheus.meter import PrometheusMeter
from assay_ml_api import metrics
from assay_ml_api.drift import Drift
from assay_ml_api.predict import Model

Serve = Callable[..., httpx.Client]

USUAL = {
    "rows": 1000,
    "categories": {"Food": 500, "Rent": 500},
    "mean_confidence": 0.9,
    "review_share": 0.02,
    "unseen_share": 0.1,
}


class Versioned:
    """A model of some version that only has a name and a past."""

    name = "versioned"
    taxonomy: Taxonomy = DEFAULT

    def __init__(self, version: str, reference: dict[str, Any] | None = None) -> None:
        self.version = version
        self.reference = reference

    def predict(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """Is not asked."""
        raise NotImplementedError

    def explain(self, transactions: pl.DataFrame, categories: pl.Series) -> pl.Series:
        """Is not asked."""
        raise NotImplementedError


def answers(rows: int, category: str = "Food") -> pl.DataFrame:
    """Answers all alike."""
    return pl.DataFrame(
        {
            "category": [category] * rows,
            "confidence": [0.5] * rows,
            "needs_review": [True] * rows,
            "seen": [True] * rows,
        }
    )


def told(meter: MemoryMeter) -> set[str]:
    """The gauges that are there."""
    return {name for name, _ in meter.values}


def test_no_figure_before_the_window_is_full(meter: MemoryMeter) -> None:
    """A gauge that is absent beats a wrong one."""
    model = Versioned("1", USUAL)
    drift = Drift(lambda: model, meter, size=10)
    drift.add(model, answers(9))
    assert not told(meter)
    drift.add(model, answers(1))
    assert told(meter) == {each.name for each in metrics.DRIFT}
    assert meter.value(metrics.MEAN_CONFIDENCE, version="1") == pytest.approx(0.5)
    assert meter.value(metrics.MEAN_CONFIDENCE_REFERENCE, version="1") == 0.9
    assert meter.value(metrics.REVIEW_SHARE, version="1") == pytest.approx(1)
    assert meter.value(metrics.UNSEEN_SHARE, version="1") == 0
    assert meter.value(metrics.DRIFT_PSI, version="1") > 0.2


def test_without_a_reference_only_the_present_is_told(meter: MemoryMeter) -> None:
    """Nothing to compare with, and no column `seen`."""
    model = Versioned("1")
    Drift(lambda: model, meter, size=1).add(model, answers(1).drop("seen"))
    assert told(meter) == {metrics.MEAN_CONFIDENCE.name, metrics.REVIEW_SHARE.name}


def test_the_gauges_go_with_their_model(meter: MemoryMeter) -> None:
    """The next one begins empty; what calls of the one before still bring is left out."""
    served: Model = Versioned("1", USUAL)
    first = served
    drift = Drift(lambda: served, meter, size=4)
    drift.add(first, answers(4))
    served = Versioned("2", USUAL)
    drift.add(first, answers(4))
    assert meter.value(metrics.MEAN_CONFIDENCE, version="1") > 0
    drift.add(served, answers(3))
    assert not told(meter)
    drift.add(first, answers(4))
    assert not told(meter)
    drift.add(served, answers(1))
    assert meter.value(metrics.MEAN_CONFIDENCE, version="2") > 0
    assert meter.value(metrics.MEAN_CONFIDENCE, version="1") == 0


def test_corrections_do_not_empty_the_window(meter: MemoryMeter) -> None:
    """They change the answers to a few descriptors, not what the model was trained on."""
    served: Model = Versioned("1", USUAL)
    drift = Drift(lambda: served, meter, size=4)
    drift.add(served, answers(3))
    served = Versioned("1+0123abcd", USUAL)
    drift.add(served, answers(1))
    assert meter.value(metrics.MEAN_CONFIDENCE, version="1") > 0


def test_drift_that_cannot_be_told_fails_no_answer(meter: MemoryMeter) -> None:
    """It is logged once a version, there is no gauge, and the next version is told as ever."""
    served: Model = Versioned("1", USUAL | {"categories": {"Food": "x"}})
    drift = Drift(lambda: served, meter, size=4)
    with capture_logs() as log:
        for _ in range(3):
            drift.add(served, answers(4))
    (entry,) = log
    assert (entry["event"], entry["version"]) == ("drift cannot be told", "1")
    assert not told(meter)
    served = Versioned("2", USUAL)
    drift.add(served, answers(4))
    assert told(meter) == {each.name for each in metrics.DRIFT}


def test_calls_of_both_doors_are_counted(serve: Serve, meter: MemoryMeter) -> None:
    """What is rejected was not answered."""
    record = {
        "id": "t",
        "description": "A",
        "amount": 1,
        "timestamp": "2024-03-01T00:00:00",
        "operation_type": "payment",
        "side": "debit",
    }
    api = serve(max_records=30_000)
    api.post("/predict", json=[record] * 15_000 + [{}] * 9_000).raise_for_status()
    assert metrics.MEAN_CONFIDENCE.name not in told(meter)
    texts = {"name": "description", "datatype": "BYTES", "shape": [5_000], "data": ["A"] * 5_000}
    api.post("/v2/models/invented/infer", json={"inputs": [texts]}).raise_for_status()
    assert meter.value(metrics.MEAN_CONFIDENCE, version="7") == pytest.approx(0.5)


def test_prometheus_sees_no_gauge_that_is_not_set() -> None:
    """Not even a zero, and none once it is taken back."""
    meter = PrometheusMeter(metrics.METRICS)
    assert b"assay_api_drift_psi{" not in meter.exposition()
    meter.set(metrics.DRIFT_PSI, 0.3, version="1")
    assert b'assay_api_drift_psi{version="1"} 0.3' in meter.exposition()
    meter.unset(metrics.DRIFT_PSI, version="1")
    assert b"assay_api_drift_psi{" not in meter.exposition()
