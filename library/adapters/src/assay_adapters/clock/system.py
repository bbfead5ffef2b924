"""The machine's monotonic clock, which no change of the wall clock moves."""

import time
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any


class SystemClock:
    """The port `assay.ports.clock.Clock` on this machine."""

    def now(self) -> float:
        """Seconds on a monotonic clock of no particular origin."""
        return time.monotonic()

    def wait(self, futures: Collection[Future[Any]], timeout: float) -> None:
        """Returns once one of these is done, or after `timeout` seconds, whichever is first."""
        if futures:
            wait(futures, timeout, FIRST_COMPLETED)
        else:
            time.sleep(timeout)
