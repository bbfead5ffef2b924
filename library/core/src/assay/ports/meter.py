"""Numbers for those who watch."""

from typing import Protocol

from assay.domain.metrics import Metric


class Meter(Protocol):
    """Counts, gauges and distributions under the registered names. Never raises for a value."""

    def add(self, metric: Metric, value: float = 1, **labels: str) -> None:
        """Adds to a counter."""
        ...

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Sets a gauge."""
        ...

    def unset(self, metric: Metric, **labels: str) -> None:
        """Takes the value of a gauge with labels away until it is set again."""
        ...

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Adds one observation to a histogram."""
        ...
