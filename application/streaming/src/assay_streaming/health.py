"""Whether a service gets on: told by its own loop, asked by others over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from assay.ports.clock import Clock


@dataclass
class Health:
    """How a service stands. One thread tells, any may ask.

    It is alive as long as something moves, or something explains why nothing does: no work, a call
    that is under way, a dependency that is asked again, its own end. A loop that hangs tells
    nothing, and so is not.

    Attributes:
        stall: seconds without progress or explanation after which it is not alive.
    """

    clock: Clock
    stall: float
    _moved: float = 0.0
    _away: tuple[str, ...] = ()
    _facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
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
        away: tuple[str, ...],
        is_busy: bool,
        facts: Mapping[str, Any],
    ) -> None:
        """How it stands just now.

        Args:
            away: dependencies that it waits for.
            is_busy: whether it should get on.
            facts: what explains it, as JSON has it.
        """
        self._facts, self._away = facts, away
        self._has_looked = True
        if away or not is_busy or self._is_stopping:
            self.moved()

    def stopping(self) -> None:
        """It reads nothing more and comes to its end."""
        self._is_stopping = True

    def alive(self) -> tuple[bool, dict[str, Any]]:
        """Whether it gets on, and since when nothing has moved."""
        still = self.clock.now() - self._moved
        return still < self.stall, {"seconds_without_progress": round(still, 1), **self._told()}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether it does its work: it has begun, nothing is away, it is not ending."""
        is_ready = self._has_looked and not self._away and not self._is_stopping
        return is_ready, self._told()

    def _told(self) -> dict[str, Any]:
        return {**self._facts, "away": list(self._away), "stopping": self._is_stopping}
