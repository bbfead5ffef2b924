"""Time as the pump sees it."""

from collections.abc import Collection
from concurrent.futures import Future
from typing import Any, Protocol


class Clock(Protocol):
    """A clock that never goes back."""

    def now(self) -> float:
        """Seconds on a monotonic clock of no particular origin."""
        ...

    def wait(self, futures: Collection[Future[Any]], timeout: float) -> None:
        """Returns once one of these is done, or after `timeout` seconds, whichever is first."""
        ...
