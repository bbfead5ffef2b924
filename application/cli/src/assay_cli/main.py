"""The `assay` command: puts together what the installed packages bring."""

import os
import sys
from collections.abc import Set as AbstractSet
from typing import NoReturn

import typer

from assay_cli import registry
from assay_cli.bootstrap import run


def main() -> NoReturn:
    """Runs the command line and ends the process; see `assay.domain.errors` for its exit codes."""
    run(application({*sys.argv[1:], *_words_to_complete()}))


def application(words: AbstractSet[str]) -> typer.Typer:
    """The command line.

    Args:
        words: of the command line. Only commands that are named among them are imported; the
            others stand there with their help, so that the list of commands comes at once.
    """
    app = typer.Typer(
        name="assay",
        help=(
            "Classify bank and card transactions, and keep the books.\n\n"
            "Every record that comes in leaves through exactly one door: classified, rejected or"
            " duplicate.\n\n"
            "Settings come from the environment and ./.env: see `assay config`. All commands end"
            " with 0 done, 65 the data are at fault, 75 something is away (run again), 78 settings"
            " are wrong, 99 nothing to do."
        ),
        epilog="First time here? `assay up`, `assay migrate`, `assay doctor`.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    app.callback()(_nothing)
    for entry in registry.installed():
        if entry.name in words:
            registry.mount(app, entry)
        else:
            registry.announce(app, entry)
    return app


def _nothing() -> None:
    """Makes a group of the commands, even where only one is installed."""


def _words_to_complete() -> list[str]:
    """The command line that a shell wants to have completed: bash, and the others."""
    found = (os.environ.get(name, "") for name in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS"))
    return " ".join(found).split()
