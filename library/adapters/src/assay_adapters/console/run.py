"""Commands end with the exit codes of the core's errors, and say why on standard error."""

import json
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from assay.domain.errors import TEMPORARY, AssayError


def run(app: typer.Typer) -> NoReturn:
    """Runs a command line and ends the process: see `assay.domain.errors` for its exit codes."""
    try:
        app()
    except AssayError as error:
        complain(str(error))
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        complain("interrupted")
        raise SystemExit(TEMPORARY) from None
    raise SystemExit(0)


def complain(message: str) -> None:
    """Says on standard error what went wrong."""
    Console(stderr=True).print("[bold red]error:[/]", escape(message), highlight=False)


def last_line(summary: Mapping[str, Any]) -> None:
    """Writes the summary of a run as one line of JSON, the last that the process writes."""
    sys.stderr.flush()
    sys.stdout.write(json.dumps(summary, separators=(",", ":")) + "\n")
    sys.stdout.flush()
