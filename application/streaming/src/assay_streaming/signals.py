"""What SIGTERM and Ctrl-C do to a service."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_asked() -> Generator[Event]:
    """An event that the first signal within the block sets; the next one ends the process."""
    asked = Event()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def answer(_: int, __: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        asked.set()

    for number in _SIGNALS:
        signal.signal(number, answer)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
