"""Whether a stream gets on: told by its own loop, asked by others over HTTP."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.domain.position import Partition
from assay.ports.clock import Clock


@dataclass
class Health:
    """How a stream stands. One thread tells, any may ask.

    It is alive as long as something moves, or something explains why nothing does: no lag, a
    dependency that is asked again, its own end. A loop that hangs tells nothing, and so is not.

    Attributes:
        stall: seconds without progress or explanation after which it is not alive.
    """

    clock: Clock
    stall: float
    _moved: float = 0.0
    _away: tuple[str, ...] = ()
    _lags: Mapping[Partition, int] = field(default_factory=dict[Partition, int])
    _assigned: Collection[Partition] = ()
    _is_stopping: bool = False
    _has_looked: bool = False

    def __post_init__(self) -> None:
        self.moved()

    def moved(self) -> None:
        """A call was answered, or something was committed."""
        self._moved = self.clock.now()

    def look(
        self,
        *,
        assigned: Collection[Partition],
        lags: Mapping[Partition, int],
        away: tuple[str, ...],
        is_failing: bool,
    ) -> None:
        """How it stands just now.

        Args:
            assigned: the partitions that it owns.
            lags: what is still to come of each.
            away: the dependencies that count as away.
            is_failing: whether one was found away, so that it is asked again.
        """
        self._assigned, self._lags, self._away = assigned, lags, away
        self._has_looked = True
        if is_failing or not any(lags.values()) or self._is_stopping:
            self.moved()

    def stopping(self) -> None:
        """It reads nothing more and comes to its end."""
        self._is_stopping = True

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether it gets on, and since when nothing has moved."""
        still = self.clock.now() - self._moved
        return still < self.stall, {"seconds_without_progress": round(still, 1), **self._facts()}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether it does its work: it has begun, nothing is away, it is not ending."""
        is_ready = self._has_looked and not self._away and not self._is_stopping
        return is_ready, self._facts()

    def _facts(self) -> dict[str, Any]:
        return {
            "partitions": sorted(self._assigned, key=lambda each: (len(each), each)),
            "lag": sum(self._lags.values()),
            "away": list(self._away),
            "stopping": self._is_stopping,
        }
