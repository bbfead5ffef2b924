"""What both halves of the demo do: commands of `assay`, and tables of what became of records."""

import json
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

DOORS = ("classified", "rejected", "duplicate")

console = Console(highlight=False)


class DemoFailed(Exception):
    """A step of the demo did not end as it should."""


def _command(*arguments: str) -> list[str]:
    return [str(Path(sys.executable).with_name("assay")), *arguments]


def assay(
    environment: Mapping[str, str], *arguments: str, expected: int = 0, show: bool = False
) -> str:
    """Runs a command of `assay`; returns what it wrote on standard output."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        _command(*arguments),
        env=environment,
        stdout=None if show else subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C is for the demo, which ends the command quietly
    )
    try:
        out, _ = process.communicate()
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate()
    _require(process.returncode, expected, arguments)
    return out or ""


class Started:
    """A command of `assay` that runs beside the demo."""

    def __init__(self, environment: Mapping[str, str], *arguments: str) -> None:
        self._arguments = arguments
        self._errors = TemporaryFile("w+")  # noqa: SIM115 - open as long as this is
        self._process = subprocess.Popen(  # noqa: S603 - our own command
            _command(*arguments),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def require_running(self) -> None:
        """Ends the demo, with what it has said last, where it runs no more."""
        if self._process.poll() is not None:
            self._errors.seek(0)
            said = self._errors.read().strip().rpartition("\n")[2]
            raise DemoFailed(f"{' '.join(self._arguments)} has ended: {said}")

    def summary(self, seconds: float) -> dict[str, Any]:
        """Its last line, when it has ended by itself within so many seconds."""
        try:
            out, _ = self._process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"{' '.join(self._arguments)} does not end") from None
        _require(self._process.returncode, 0, self._arguments)
        return last_line(out)

    def stop(self) -> dict[str, Any]:
        """Ends it by SIGTERM; its last line."""
        self._process.terminate()
        return self.summary(30)

    def end(self) -> None:
        """Ends it, if it still runs."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.communicate()
        self._errors.close()


@contextmanager
def running(environment: Mapping[str, str], *commands: tuple[str, ...]) -> Generator[list[Started]]:
    """Commands that run beside the demo, and end with this block."""
    started: list[Started] = []
    try:
        started.extend(Started(environment, *each) for each in commands)
        yield started
    finally:
        for each in started:
            each.end()


def _require(code: int, expected: int, arguments: tuple[str, ...]) -> None:
    if code != expected:
        raise DemoFailed(f"{' '.join(arguments)} ended with {code}, not {expected}")


def require(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Ends the demo where something does not hold."""
    if not holds:
        raise DemoFailed(what)


def last_line(printed: str) -> dict[str, Any]:
    """The summary that a run prints last."""
    return json.loads(printed.splitlines()[-1])


def table(*headings: str, numbers: tuple[str, ...] = (), title: str | None = None) -> Table:
    """A table, some columns of which are numbers."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
    for each in headings:
        made.add_column(each, justify="right" if each in numbers else "left")
    return made


def print_doors(summary: Mapping[str, Any]) -> None:
    """How many records left through each door; they must be those that came in."""
    names = ("read", *DOORS)
    shown = table(*names, numbers=names)
    shown.add_row(*(f"{summary[name]:,}" for name in names))
    console.print(shown)
    doors = [summary[name] for name in DOORS]
    balances = summary["read"] == sum(doors)
    rate = summary["read"] / summary["seconds"]
    console.print(
        f"   {summary['read']:,} = {' + '.join(f'{each:,}' for each in doors)}: "
        f"{'[green]the books balance[/]' if balances else '[red]they do not balance[/]'}"
        f" ({summary['seconds']:.1f} s, {rate:,.0f} records/s)"
    )
    require(balances, "the books do not balance")
