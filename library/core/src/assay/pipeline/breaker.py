"""The circuit breaker between the pump and one dependency."""

from tenacity.wait import wait_base

from assay.domain.errors import Unavailable
from assay.pipeline.retry import FULL_JITTER, delay


class Breaker:
    """Says when a dependency may be called. It holds no clock; whoever asks brings the time.

    After a failure every caller waits, longer each time. From `threshold` failures in a row on it
    is open: one call at a time is let through as a probe, and the first that succeeds closes it.
    """

    def __init__(self, name: str, *, threshold: int = 5, wait: wait_base = FULL_JITTER) -> None:
        self.name = name
        self._threshold = threshold
        self._wait = wait
        self._failures = 0
        self._calls = 0
        self._not_before = float("-inf")
        self._failing_since: float | None = None
        self.last_error: Unavailable | None = None

    @property
    def is_open(self) -> bool:
        """Whether the dependency counts as away."""
        return self._failures >= self._threshold

    def failing_for(self, now: float) -> float:
        """Seconds since the first failure of the present row of failures; 0 while it is well."""
        return 0.0 if self._failing_since is None else now - self._failing_since

    def allows(self, now: float) -> bool:
        """Whether a call may begin now."""
        return now >= self._not_before and not (self.is_open and self._calls)

    def began(self) -> None:
        """A call began."""
        self._calls += 1

    def returned(self) -> None:
        """A call that began has come back, and says nothing of whether the dependency is there."""
        self._calls -= 1

    def succeeded(self) -> None:
        """A call that began has been answered, with whatever answer."""
        self._calls -= 1
        self._failures = 0
        self._failing_since = self.last_error = None
        self._not_before = float("-inf")

    def failed(self, now: float, error: Unavailable) -> None:
        """A call that began found the dependency away."""
        self._calls -= 1
        self._failures += 1
        self._failing_since = now if self._failing_since is None else self._failing_since
        self._not_before = max(self._not_before, now + delay(self._wait, self._failures, error))
        self.last_error = error
