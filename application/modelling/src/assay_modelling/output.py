"""What the commands print: tables for people, one JSON document for programs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table


def progress(message: str) -> None:
    """Says on standard error what is being done."""
    typer.echo(message, err=True)


def print_json(document: object) -> None:
    """Prints one JSON document in one line."""
    typer.echo(json.dumps(document))


def say(text: str) -> None:
    """Prints text as it is; wrapped on a terminal only, for `grep` sees lines."""
    console = Console(highlight=False)
    console.print(escape(text), soft_wrap=not console.is_terminal)


def table(*headings: str | Column) -> Table:
    """A table without borders."""
    return Table(*headings, box=None, pad_edge=False, header_style="bold")


def show(rows: Table) -> None:
    """Prints a table."""
    Console(highlight=False).print(rows)


def show_facts(facts: Mapping[str, object], *, as_json: bool) -> None:
    """Prints names and values, those within a value indented below its name."""
    if as_json:
        print_json(facts)
        return
    width = Console().width
    for line in _lines(facts, width):
        typer.echo(line)


def _lines(facts: Mapping[str, object], width: int) -> Iterator[str]:
    column = max(map(len, facts), default=0) + 2
    for name, fact in facts.items():
        if nested := _nested(fact):
            for each in nested:
                yield name
                yield from (f"  {line}" for line in _lines(each, max(width - 2, 1)))
        else:
            # A digest stays in one piece, even where it is longer than a line.
            yield from wrap(
                f"{name:{column}}{_text(fact)}",
                width,
                subsequent_indent=" " * column,
                break_long_words=False,
                break_on_hyphens=False,
            )


def _nested(fact: object) -> list[Mapping[str, object]]:
    """The mappings that a value is, or consists of."""
    each = cast(list[object], fact) if isinstance(fact, list) else [fact]
    return [cast(Mapping[str, object], one) for one in each if isinstance(one, Mapping)]


def _text(fact: object) -> str:
    if isinstance(fact, list | tuple):
        return ", ".join(map(_text, cast(Sequence[object], fact)))
    return f"{fact:g}" if isinstance(fact, float) else str(fact)
