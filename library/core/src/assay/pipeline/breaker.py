"""The circuit breaker between the pump and one dependency."""

from typing import Final

from tenacity.wait import wait_base

from assay.domain.errors import Unavailable
from assay.pipeline.retry import FULL_JITTER, delay

LONG: Final = 10.0
"""Seconds for which attempts may have failed until it is said."""


class Breaker:
    """Says when a dependency may be called. It holds no clock; whoever asks brings the time.

    After a failure every caller waits, longer each time. From `threshold` failures in a row on it
    is open, or once attempts have failed for `long` seconds, be it that each one takes its time or
    that the dependency asks for patience: one call at a time is let through as a probe, and the
    first that succeeds closes it.
    """

    def __init__(
        self, name: str, *, threshold: int = 5, long: float = LONG, wait: wait_base = FULL_JITTER
    ) -> None:
        self.name = name
        self._threshold, self._long = threshold, long
        self._wait = wait
        self._failures = 0
        self._calls = 0
        self._not_before = float("-inf")
        self._trying_since: float | None = None  # the first call that nothing good came of yet
        self.last_error: Unavailable | None = None

    def is_open(self, now: float) -> bool:
        """Whether the dependency counts as away."""
        return self._failures >= self._threshold or self.failing_for(now) >= self._long

    def failing_for(self, now: float) -> float:
        """Seconds since the first call of the present row of failures began; 0 while it is well.

        Time in which nobody wants anything of it does not count.
        """
        if self._trying_since is None or not self._failures:
            return 0.0
        return (now if self._calls else min(now, self._not_before)) - self._trying_since

    def allows(self, now: float) -> bool:
        """Whether a call may begin now."""
        return now >= self._not_before and not (self._calls and self.is_open(now))

    def began(self, now: float) -> None:
        """A call began."""
        self._calls += 1
        if self._trying_since is None:
            self._trying_since = now

    def returned(self) -> None:
        """A call that began has come back, and says nothing of whether the dependency is there."""
        self._calls -= 1
        if not (self._calls or self._failures):
            self._trying_since = None

    def succeeded(self, now: float) -> None:
        """A call that began has been answered, with whatever answer."""
        self._calls -= 1
        self._failures = 0
        self._trying_since = now if self._calls else None
        self.last_error = None
        self._not_before = float("-inf")

    def failed(self, now: float, error: Unavailable) -> None:
        """A call that began found the dependency away."""
        self._calls -= 1
        self._failures += 1
        self._not_before = max(self._not_before, now + delay(self._wait, self._failures, error))
        self.last_error = error
