"""How far a producer has come: a line on a terminal, a log line now and then elsewhere."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

import structlog
from rich.console import Console

from assay_streaming.outlet import Sent

_OFTEN: Final = 0.2  # seconds
_SELDOM: Final = 10.0
_STALLED: Final = 5.0  # seconds without a delivery, after which it is said
_log: Any = structlog.get_logger(__name__)


class _Watched:
    """What is told, and when."""

    def __init__(self, every: float, tell: Callable[[Sent, float, bool], None]) -> None:
        self._every, self._tell = every, tell
        self._began = self._moved = time.monotonic()
        self._next = self._began + every
        self._delivered = 0

    def __call__(self, sent: Sent) -> None:
        now = time.monotonic()
        delivered = sent.outlet.delivered
        if delivered > self._delivered or not sent.outlet.waiting:
            self._delivered, self._moved = delivered, now
        if now >= self._next:
            self._next = now + self._every
            rate = delivered / max(now - self._began, 1e-6)
            self._tell(sent, rate, now - self._moved > _STALLED)


@contextmanager
def shown(console: Console) -> Generator[Callable[[Sent], None]]:
    """Shows how far it is, in whichever way fits the console, for as long as the block lasts."""
    if not console.is_terminal:
        yield _Watched(_SELDOM, _log_line)
        return
    with console.status("waiting for Kafka") as status:

        def tell(sent: Sent, rate: float, stalled: bool) -> None:  # noqa: FBT001 - as called
            status.update(_line(sent, rate) + " (stalled)" * stalled)

        yield _Watched(_OFTEN, tell)


def _line(sent: Sent, rate: float) -> str:
    outlet = sent.outlet
    return (
        f"{sent.produced:,} records, {rate:,.0f}/s: {outlet.delivered:,} delivered, "
        f"{outlet.waiting:,} under way, {outlet.failed.total():,} failed"
    )


def _log_line(sent: Sent, rate: float, stalled: bool) -> None:  # noqa: FBT001 - as called
    outlet = sent.outlet
    counts = {
        "produced": sent.produced,
        "delivered": outlet.delivered,
        "waiting": outlet.waiting,
        "failed": dict(outlet.failed),
        "rate": round(rate, 1),
    }
    if stalled:
        _log.warning("Kafka takes nothing just now", **counts)
    else:
        _log.info("producing", **counts)
