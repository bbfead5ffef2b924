"""What commands print: tables for people, one JSON document for programs."""

import json
import sys
from typing import Annotated, Any, Final, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from assay.domain.errors import AssayError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]

_COLOURS: Final = {"ok": "green", "warn": "yellow", "fail": "red"}


def print_json(document: Any) -> None:
    """Prints one JSON document in one line, in ASCII."""
    sys.stdout.write(json.dumps(document, default=str) + "\n")


def say(text: str = "") -> None:
    """Prints text, with markup of rich; wrapped on a terminal only, for `grep` sees lines."""
    console = Console(highlight=False)
    console.print(text, soft_wrap=not console.is_terminal)


def plain(value: object) -> str:
    """A value as text to be printed with markup: no terminal obeys it, and no markup is in it."""
    return escape(printable(value))


def printable(value: object) -> str:
    """A value as text in which nothing but printable characters stands; None is empty."""
    text = "" if value is None else str(value)
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in text
    )


def decoded(raw: bytes) -> str:
    r"""Bytes as printable text: what is no UTF-8 as `\xff`, control characters escaped."""
    return printable(raw.decode("utf-8", "backslashreplace"))


def table(
    *headings: str,
    title: str | None = None,
    numbers: tuple[str, ...] = (),
    whole: tuple[str, ...] = (),
) -> Table:
    """A table without borders.

    Args:
        headings: of its columns.
        title: above it.
        numbers: the columns that are aligned to the right, and are not wrapped.
        whole: others that are not wrapped.
    """
    made = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for heading in headings:
        if heading in numbers:
            made.add_column(heading, justify="right", no_wrap=True)
        else:
            made.add_column(heading, overflow="fold", no_wrap=heading in whole)
    return made


def add(rows: Table, *cells: object) -> None:
    """Adds a row; numbers get separators, states their colour; of a list each has its line."""
    rows.add_row(*(Text(_written(cell), _style(cell)) for cell in cells))


def _written(cell: object) -> str:
    if isinstance(cell, list):
        return "\n".join(map(_written, cast(list[object], cell)))
    return f"{cell:,}" if isinstance(cell, int) else printable(cell)


def _style(cell: object) -> str:
    return _COLOURS.get(cell, "") if isinstance(cell, str) else ""


def show(rows: Table) -> None:
    """Prints a table."""
    Console(highlight=False).print(rows)


def say_away(console: Console, dependency: str, error: AssayError | None) -> None:
    """Says that a dependency is away and is waited for; without an error, that it is back."""
    if error is None:
        console.print(f"{dependency} is back")
    else:
        console.print(
            f"[yellow]waiting for {dependency}[/] as long as --patience says, or"
            f" until Ctrl-C: {plain(error)}",
            soft_wrap=not console.is_terminal,
        )
