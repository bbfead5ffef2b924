"""How far a run has come: a bar on a terminal, a log line now and then elsewhere."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import structlog
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from assay.domain.dependencies import OF_FILES
from assay.domain.errors import Unavailable
from assay.domain.tally import Tally

_EVERY = 10.0  # seconds
_log: Any = structlog.get_logger(__name__)


class Bar:
    """A progress bar on standard error, by the bytes of the files that are read."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._began = time.monotonic()

    def begin(self, files: int, size: int) -> None:
        """Shows the bar."""
        name = "1 file" if files == 1 else f"{files:,} files"
        self._task = self._progress.add_task(name, total=size, counts="")

    def committed(self, tally: Tally, read: int) -> None:
        """Moves the bar."""
        if self._task is not None:
            rate = tally.read / max(time.monotonic() - self._began, 1e-6)
            counts = f"{tally.read:,} records, {rate:,.0f}/s"
            self._progress.update(self._task, completed=read, counts=counts)

    def away(self, dependency: str, error: Unavailable | None) -> None:
        """Says above the bar what is waited for."""
        if error is None:
            self._progress.console.print(f"{OF_FILES[dependency]} is back")
        else:
            waiting = (
                f"[yellow]waiting for {OF_FILES[dependency]}[/] as long as --patience says, "
                f"or until Ctrl-C: {escape(str(error))}"
            )
            self._progress.console.print(waiting)


class Lines:
    """A log line every ten seconds."""

    def __init__(self) -> None:
        self._next = time.monotonic() + _EVERY

    def begin(self, files: int, size: int) -> None:
        """Says what is to be done."""
        _log.info("run begins", files=files, bytes=size)

    def committed(self, tally: Tally, read: int) -> None:
        """Says how far it is, if it is time to."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            _log.info("run goes on", bytes=read, **vars(tally))

    def away(self, dependency: str, error: Unavailable | None) -> None:
        """Says what is waited for."""
        if error is None:
            _log.info(f"{OF_FILES[dependency]} is back", dependency=dependency)
        else:
            _log.warning(
                f"waiting for {OF_FILES[dependency]}", dependency=dependency, error=str(error)
            )


@contextmanager
def shown(console: Console) -> Generator[Bar | Lines]:
    """Whichever fits the console, for as long as the block lasts."""
    if not console.is_terminal:
        yield Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[counts]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=console, expand=True) as progress:
        yield Bar(progress)
