"""The meter as Prometheus sees it."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from assay.domain.metrics import RECORDS, Metric
from assay.ports.meter import Meter
from assay.testing.meter import MeterSuite
from assay_adapters.prometheus.meter import PrometheusMeter


def read(text: str, metric: Metric, labels: dict[str, str]) -> float:
    """One value out of what is exposed."""
    name = metric.name + ("_count" if metric.kind == "histogram" else "")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return sample.value
    return 0.0


class TestPrometheusMeter(MeterSuite):
    """The port suite over Prometheus, read through its exposition."""

    @pytest.fixture
    def meter(self) -> Meter:
        """A meter with a registry of its own."""
        return PrometheusMeter()

    def read(self, meter: Meter, metric: Metric, **labels: str) -> float:
        """The value as it is exposed."""
        assert isinstance(meter, PrometheusMeter)
        return read(meter.exposition().decode(), metric, labels)


def test_two_meters_are_apart() -> None:
    """Nothing is shared through a global registry."""
    labels = {"pipeline": "batch", "door": "classified"}
    first, second = PrometheusMeter(), PrometheusMeter()
    first.add(RECORDS, 1, **labels)
    assert read(second.exposition().decode(), RECORDS, labels) == 0


def test_a_foreign_metric_is_a_mistake_of_the_program() -> None:
    """A metric outside the registry is not made up on the way."""
    with pytest.raises(KeyError):
        PrometheusMeter().add(Metric("assay_other_total", "counter", "Other."))
