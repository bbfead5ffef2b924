"""How a stream gets on: a line that changes on a terminal, a log line now and then elsewhere."""

import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import structlog
from rich.console import Console
from rich.markup import escape
from rich.status import Status

from assay.domain.errors import Unavailable
from assay.domain.tally import Tally

_EVERY = 10.0  # seconds
_SELDOM = 60.0
_UNASSIGNED: Final = (
    "waiting for partitions: one that was a member of group {group} may hold them until its"
    " session is over, which takes {session:g} s (session.timeout.ms); where the group has more"
    " members than partitions, this one is spare"
)
_log: Any = structlog.get_logger(__name__)


class Line:
    """One line on standard error."""

    def __init__(self, status: Status, names: Mapping[str, str]) -> None:
        self._status, self._names = status, names
        self._last = time.monotonic(), 0

    def look(self, tally: Tally, lag: int | None) -> None:
        """Writes the line anew."""
        now = time.monotonic()
        since, read = self._last
        rate = (tally.read - read) / max(now - since, 1e-6)
        self._last = now, tally.read
        to_come = "waiting for partitions" if lag is None else f"{lag:,} to come"
        self._status.update(
            f"{rate:,.0f} records/s, {to_come}: {tally.classified:,} classified, "
            f"{tally.rejected:,} rejected, {tally.duplicate:,} duplicate"
        )

    def away(self, dependency: str, error: Unavailable | None) -> None:
        """Says above the line what is waited for."""
        name = self._names[dependency]
        waiting = f"[yellow]waiting for {name}[/]: {escape(str(error))}"
        self._status.console.print(
            waiting if error is not None else f"{name} is back", highlight=False
        )

    def unassigned(self, group: str, session: float) -> None:
        """Says above the line why nothing comes."""
        text = _UNASSIGNED.format(group=group, session=session)
        self._status.console.print(text, highlight=False, markup=False)


class Lines:
    """A log line every ten seconds in which something came, and every minute of an outage."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = names
        self._next = time.monotonic() + _EVERY
        self._read = 0
        self._away: dict[str, float] = {}

    def look(self, tally: Tally, lag: int | None) -> None:
        """Says how it gets on, if it is time to."""
        now = time.monotonic()
        for dependency, said in self._away.items():
            if now >= said + _SELDOM:
                self._away[dependency] = now
                _log.warning(f"still waiting for {self._names[dependency]}", dependency=dependency)
        if now >= self._next and tally.read > self._read:
            self._next = time.monotonic() + _EVERY
            self._read = tally.read
            _log.info("stream goes on", lag=lag, **vars(tally))

    def away(self, dependency: str, error: Unavailable | None) -> None:
        """Says what is waited for."""
        if error is None:
            self._away.pop(dependency, None)
            _log.info(f"{self._names[dependency]} is back", dependency=dependency)
        else:
            self._away[dependency] = time.monotonic()
            _log.warning(
                f"waiting for {self._names[dependency]}", dependency=dependency, error=str(error)
            )

    def unassigned(self, group: str, session: float) -> None:
        """Says why nothing comes."""
        _log.info(_UNASSIGNED.format(group=group, session=session), group=group)


@contextmanager
def shown(console: Console, names: Mapping[str, str]) -> Generator[Line | Lines]:
    """Whichever fits the console, for as long as the block lasts.

    Args:
        console: standard error.
        names: what people call the dependencies.
    """
    if not console.is_terminal:
        yield Lines(names)
        return
    with console.status("joining the group", spinner="dots") as status:
        yield Line(status, names)
