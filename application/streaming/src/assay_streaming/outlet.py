"""Where producers put messages, and what has become of them."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from assay.domain.errors import DATA, DONE, TEMPORARY
from assay.wire.framed import Frame, as_json

Message: TypeAlias = tuple[bytes | None, bytes | None]
"""Key and value."""

_FLUSH: Final = 30.0  # seconds
_ROOM: Final = 0.5
# What the message itself is the reason of: sent again it fails again.
_OF_THE_MESSAGE: Final = frozenset({"MSG_SIZE_TOO_LARGE", "INVALID_MSG", "INVALID_RECORD"})


class Outlet(Protocol):
    """Puts messages on a topic, in the background.

    Attributes:
        failed: how many messages have failed, by the name of the error.
    """

    failed: Counter[str]

    @property
    def waiting(self) -> int:
        """How many messages are neither delivered nor failed so far."""
        ...

    @property
    def delivered(self) -> int:
        """How many messages are on the topic."""
        ...

    def send(self, messages: Sequence[Message], within: float) -> Sequence[Message]:
        """Takes messages in; returns those for which there was no room in so many seconds."""
        ...

    def flush(self, within: float) -> int:
        """Waits until all are delivered or have failed; returns how many are neither."""
        ...


@dataclass
class Sent:
    """How far a producer has come.

    Attributes:
        frame: writes the values of messages.
        produced: messages that the outlet has taken.
        unanswered: those that were neither delivered nor failed when it ended.
    """

    outlet: Outlet
    stopped: Callable[[], bool]
    show: Callable[["Sent"], None]
    frame: Frame = as_json
    produced: int = 0
    unanswered: int = 0

    def put(self, messages: Sequence[Message], until: float = math.inf) -> None:
        """Hands messages over, waiting for room as long as it takes, or until it is stopped.

        Args:
            messages: those for which there was no room in time are not produced.
            until: the time by `time.monotonic` after which none is waited for.
        """
        values = self.frame([value for _, value in messages])
        messages = [(key, value) for (key, _), value in zip(messages, values, strict=True)]
        while messages:
            within = min(_ROOM, max(0.0, until - time.monotonic()))
            rest = self.outlet.send(messages, within)
            self.produced += len(messages) - len(rest)
            messages = rest
            self.show(self)
            if self.stopped() or time.monotonic() >= until:
                break

    def end(self) -> None:
        """Waits for what is under way, half a minute at most."""
        self.unanswered = self.outlet.flush(_FLUSH)

    @property
    def exit_code(self) -> int:
        """Whether all were delivered, and if not whether they may be later."""
        failed = self.outlet.failed
        if self.unanswered or failed.keys() - _OF_THE_MESSAGE:
            return TEMPORARY
        return DATA if failed else DONE

    def counts(self, seconds: float) -> dict[str, Any]:
        """For the summary: what was delivered and what was not are together what was produced."""
        failed = self.outlet.failed
        return {
            "delivered": self.outlet.delivered,
            "undelivered": failed.total() + self.unanswered,
            "failed": dict(failed),
            "seconds": round(seconds, 3),
            "rate": round(self.outlet.delivered / max(seconds, 1e-6), 1),
        }
