"""The meter as Prometheus sees it."""

import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from assay.domain.errors import Fatal
from assay.domain.metrics import COMMIT_SECONDS, RECORDS, Metric
from assay.ports.meter import Meter
from assay.testing.meter import MeterSuite
from assay_adapters.prometheus.exposition import exposed
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


def get(port: int) -> str:
    """What the port exposes."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return answer.read().decode()


def test_numbers_are_exposed_while_the_block_runs() -> None:
    """A free port serves the current numbers, and is closed afterwards."""
    meter = PrometheusMeter()
    meter.add(RECORDS, 3, pipeline="batch", door="classified")
    with exposed(meter, "127.0.0.1", 0) as port:
        assert port > 0
        labels = {"pipeline": "batch", "door": "classified"}
        assert read(get(port), RECORDS, labels) == 3
        meter.observe(COMMIT_SECONDS, 0.2, pipeline="batch")
        assert read(get(port), COMMIT_SECONDS, {"pipeline": "batch"}) == 1
    with pytest.raises(urllib.error.URLError):
        get(port)


def test_a_port_in_use_is_fatal() -> None:
    """An address that is taken is named."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(Fatal, match=f"127.0.0.1:{port}"),
            exposed(PrometheusMeter(), "127.0.0.1", port),
        ):
            pass


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
