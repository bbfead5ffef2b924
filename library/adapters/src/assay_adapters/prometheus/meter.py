"""A meter that Prometheus can scrape."""

import math
from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from assay.domain.metrics import METRICS, Metric

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
"""Of what `exposition` gives."""


class PrometheusMeter:
    """Counts, gauges and histograms under the registered names, safe from several threads.

    A metric that was not given, and labels other than its own, are mistakes of the program and
    raise `KeyError` and `ValueError`; a value never raises.

    Attributes:
        registry: what is exposed; one of its own.
    """

    def __init__(self, metrics: Iterable[Metric] = METRICS) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for each in metrics:
            about = (each.name, each.help, each.labels)
            match each.kind:
                case "counter":
                    self._counters[each.name] = Counter(*about, registry=self.registry)
                case "gauge":
                    self._gauges[each.name] = Gauge(*about, registry=self.registry)
                case "histogram":
                    self._histograms[each.name] = Histogram(*about, registry=self.registry)

    def add(self, metric: Metric, value: float = 1, **labels: str) -> None:
        """Adds to a counter; a negative number, or none at all, is left out."""
        counter = self._counters[metric.name]
        counter = counter.labels(**labels) if metric.labels else counter
        if math.isfinite(value) and value >= 0:
            counter.inc(value)

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Sets a gauge."""
        gauge = self._gauges[metric.name]
        (gauge.labels(**labels) if metric.labels else gauge).set(value)

    def unset(self, metric: Metric, **labels: str) -> None:
        """Exposes a gauge no more until it is set again."""
        self._gauges[metric.name].remove(*(labels[name] for name in metric.labels))

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Adds one observation to a histogram."""
        histogram = self._histograms[metric.name]
        (histogram.labels(**labels) if metric.labels else histogram).observe(value)

    def exposition(self) -> bytes:
        """All values in Prometheus' text format."""
        return generate_latest(self.registry)
