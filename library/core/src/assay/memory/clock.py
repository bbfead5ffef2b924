"""A clock that tests move."""

from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any


class MemoryClock:
    """Time passes only where somebody waits or moves it.

    Attributes:
        while_waiting: called in each wait before time passes; a stepping executor works here.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self.while_waiting: Callable[[], object] | None = None

    def now(self) -> float:
        """Seconds since the clock was made."""
        return self._now

    def wait(self, futures: Collection[Future[Any]], timeout: float) -> None:
        """Lets others work, then time pass unless a future is done."""
        if self.while_waiting is not None:
            self.while_waiting()
        if not any(each.done() for each in futures):
            self._now += timeout

    def move(self, seconds: float) -> None:
        """Lets time pass."""
        self._now += seconds
