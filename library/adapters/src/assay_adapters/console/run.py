"""Commands end with the exit codes of the core's errors, and say why on standard error."""

import json
import sys
from collections.abc import Mapping
from io import TextIOWrapper
from typing import Any, Final, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from assay.domain.errors import CONFIGURATION, DONE, AssayError

_USAGE: Final = 2  # what Typer ends with when the command line is wrong


def run(app: typer.Typer) -> NoReturn:
    """Runs a command line and ends the process: see `assay.domain.errors` for its exit codes.

    Options that do not exist or do not fit count as settings. Ctrl-C ends with 130, as in shells,
    unless the command makes more of it. What standard output or error cannot encode is escaped.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except AssayError as error:
        complain(str(error))
        raise SystemExit(error.exit_code) from None
    except SystemExit as end:
        raise SystemExit(CONFIGURATION if end.code == _USAGE else end.code) from None
    raise SystemExit(DONE)


def complain(message: str) -> None:
    """Says on standard error what went wrong; wrapped on a terminal only, for `grep` sees lines."""
    console = Console(stderr=True, highlight=False)
    console.print("[bold red]error:[/]", escape(message), soft_wrap=not console.is_terminal)


def last_line(summary: Mapping[str, Any]) -> None:
    """Writes the summary of a run as one line of JSON, the last that the process writes."""
    sys.stderr.flush()
    sys.stdout.write(json.dumps(summary, separators=(",", ":")) + "\n")
    sys.stdout.flush()
