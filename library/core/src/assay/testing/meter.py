"""The port suite of `assay.ports.meter`."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from assay.domain.metrics import BREAKER_OPEN, COMMIT_SECONDS, METRICS, RECORDS, Metric
from assay.ports.meter import Meter


class MeterSuite:
    """What every meter keeps; an adapter adds how to make one and how to read it."""

    @pytest.fixture
    def meter(self) -> Meter:
        """The meter under test."""
        raise NotImplementedError

    def read(self, meter: Meter, metric: Metric, **labels: str) -> float:
        """What a counter or gauge stands at, or how many observations a histogram has."""
        raise NotImplementedError

    def test_a_counter_adds_up(self, meter: Meter) -> None:
        """A counter counts by one, or by what is given, for each set of labels apart."""
        meter.add(RECORDS, pipeline="batch", door="classified")
        meter.add(RECORDS, 41, pipeline="batch", door="classified")
        meter.add(RECORDS, 5, pipeline="batch", door="rejected")
        assert self.read(meter, RECORDS, pipeline="batch", door="classified") == 42
        assert self.read(meter, RECORDS, pipeline="batch", door="rejected") == 5

    def test_a_gauge_holds_the_latest_value(self, meter: Meter) -> None:
        """Setting a gauge replaces what it was."""
        labels = {"pipeline": "batch", "dependency": "classifier"}
        meter.set(BREAKER_OPEN, 1, **labels)
        meter.set(BREAKER_OPEN, 0, **labels)
        assert self.read(meter, BREAKER_OPEN, **labels) == 0

    def test_a_gauge_is_gone_once_it_is_unset(self, meter: Meter) -> None:
        """Under these labels only, and until it is set again."""
        labels = {"pipeline": "batch", "dependency": "classifier"}
        others = labels | {"dependency": "store"}
        meter.unset(BREAKER_OPEN, **labels)
        meter.set(BREAKER_OPEN, 1, **labels)
        meter.set(BREAKER_OPEN, 1, **others)
        meter.unset(BREAKER_OPEN, **labels)
        assert self.read(meter, BREAKER_OPEN, **labels) == 0
        assert self.read(meter, BREAKER_OPEN, **others) == 1
        meter.set(BREAKER_OPEN, 2, **labels)
        assert self.read(meter, BREAKER_OPEN, **labels) == 2

    def test_a_histogram_keeps_every_observation(self, meter: Meter) -> None:
        """However small or large they are."""
        for seconds in (0.0, 1e-9, 0.3, 1e6):
            meter.observe(COMMIT_SECONDS, seconds, pipeline="batch")
        assert self.read(meter, COMMIT_SECONDS, pipeline="batch") == 4

    def test_a_value_never_raises(self, meter: Meter) -> None:
        """A number that makes no sense does not stop whoever measured it."""
        for value in (-1.0, float("nan"), float("inf"), float("-inf")):
            meter.add(RECORDS, value, pipeline="batch", door="classified")
            meter.set(BREAKER_OPEN, value, pipeline="batch", dependency="store")
            meter.observe(COMMIT_SECONDS, value, pipeline="batch")

    def test_every_registered_metric_is_known(self, meter: Meter) -> None:
        """Each metric of the registry takes a value under its own labels."""
        for metric in METRICS:
            labels = dict.fromkeys(metric.labels, "any")
            match metric.kind:
                case "counter":
                    meter.add(metric, 1, **labels)
                case "gauge":
                    meter.set(metric, 1, **labels)
                case "histogram":
                    meter.observe(metric, 1, **labels)
            assert self.read(meter, metric, **labels) == 1

    def test_threads_lose_no_count(self, meter: Meter) -> None:
        """What several threads add is all there."""

        def count(_: int) -> None:
            for _ in range(500):
                meter.add(RECORDS, pipeline="batch", door="duplicate")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(count, range(4)))
        assert self.read(meter, RECORDS, pipeline="batch", door="duplicate") == 2_000
