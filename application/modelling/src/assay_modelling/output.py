"""What the commands print: tables for people, one JSON document for programs."""

import json
from collections.abc import Mapping
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
    """Prints names and values."""
    if as_json:
        print_json(facts)
        return
    rows = Table("", Column(overflow="fold"), box=None, show_header=False, pad_edge=False)
    for name, fact in facts.items():
        rows.add_row(name, escape(_text(fact)))
    show(rows)


def _text(fact: object) -> str:
    if isinstance(fact, float):
        return f"{fact:.4f}"
    if isinstance(fact, tuple):
        return ", ".join(cast(tuple[str, ...], fact))
    return fact if isinstance(fact, str) else json.dumps(fact, indent=1)
