"""What SIGTERM and Ctrl-C do to a run."""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_signal(act: Callable[[], None]) -> Generator[list[int]]:
    """Within the block the first signal calls `act` in the main thread.

    The next ends the process, also when it comes after the block.

    Yields:
        The signals that have come.
    """
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def answer(number: int, _: FrameType | None) -> None:
        received.append(number)
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        act()

    for number in before:
        signal.signal(number, answer)
    try:
        yield received
    finally:
        if not received:
            for number, handler in before.items():
                signal.signal(number, handler)


def interrupt() -> None:
    """Ends at once whatever the main thread waits for."""
    raise KeyboardInterrupt
