"""A meter that keeps the numbers."""

from assay.domain.metrics import Metric


class MemoryMeter:
    """Keeps the latest value of each gauge, the sum of each counter, and all observations."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
        self.observations: dict[tuple[str, frozenset[tuple[str, str]]], list[float]] = {}

    def add(self, metric: Metric, value: float = 1, **labels: str) -> None:
        """Adds to a counter."""
        key = (metric.name, frozenset(labels.items()))
        self.values[key] = self.values.get(key, 0.0) + value

    def set(self, metric: Metric, value: float, **labels: str) -> None:
        """Sets a gauge."""
        self.values[metric.name, frozenset(labels.items())] = value

    def unset(self, metric: Metric, **labels: str) -> None:
        """Takes the value of a gauge away until it is set again."""
        self.values.pop((metric.name, frozenset(labels.items())), None)

    def observe(self, metric: Metric, value: float, **labels: str) -> None:
        """Adds one observation to a histogram."""
        self.observations.setdefault((metric.name, frozenset(labels.items())), []).append(value)

    def value(self, metric: Metric, **labels: str) -> float:
        """What a counter or gauge stands at; 0 before it was touched."""
        return self.values.get((metric.name, frozenset(labels.items())), 0.0)
