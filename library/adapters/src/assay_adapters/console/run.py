"""Commands end with the exit codes of the core's errors, and say why on standard error."""

import errno
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Final, NoReturn, TextIO, cast

import typer
from rich.console import Console
from rich.markup import escape

from assay.domain.errors import CONFIGURATION, DONE, AssayError, Unavailable
from assay_adapters.console.plain import PlainGroup, plain_help

_STDERR: Final = 2
_USAGE: Final = 2  # what Typer ends with when the command line is wrong


def run(app: typer.Typer) -> NoReturn:
    """Runs a command line and ends the process: see `assay.domain.errors` for its exit codes.

    Options that do not exist or do not fit count as settings. Ctrl-C ends with 130, as in shells,
    unless the command makes more of it. What standard output or error cannot encode is escaped;
    a word of the command line that is no UTF-8 counts as a wrong option.
    """
    _occupy_descriptors()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for word in sys.argv[1:]:
        # What cannot be decoded comes as such letters, which nothing else could write anywhere.
        if any("\ud800" <= letter <= "\udfff" for letter in word):
            complain(f"{word!a} is no UTF-8")
            raise SystemExit(CONFIGURATION)
    plain_help()
    app.info.cls = PlainGroup
    try:
        app()
    except AssayError as error:
        doctor = "; `assay doctor` says what is away" if isinstance(error, Unavailable) else ""
        complain(f"{error}{doctor}")
        raise SystemExit(error.exit_code) from None
    except SystemExit as end:
        raise SystemExit(CONFIGURATION if end.code == _USAGE else end.code) from None
    raise SystemExit(DONE)


def complain(message: str) -> None:
    """Says on standard error what went wrong; wrapped on a terminal only, for `grep` sees lines."""
    console = Console(stderr=True, highlight=False)
    console.print("[bold red]error:[/]", escape(message), soft_wrap=not console.is_terminal)


def last_line(summary: Mapping[str, Any]) -> None:
    """Writes the summary of a run as one line of JSON, the last that the process writes.

    Where standard output is closed or full, it goes to standard error, with the reason.
    """
    line = json.dumps(summary, separators=(",", ":"))
    with suppress(OSError):
        sys.stderr.flush()
    if (why := _written(sys.stdout, line)) is not None:
        _written(sys.stderr, f"error: standard output takes no summary ({why.strerror}): {line}")


def _written(stream: TextIO | None, line: str) -> OSError | None:
    """Writes a line at once; where that cannot be, nothing else is written, and it returns why."""
    if stream is None:
        return OSError(errno.EBADF, os.strerror(errno.EBADF))
    try:
        stream.write(line + "\n")
        stream.flush()
    except OSError as error:
        # What the stream holds back would fail once more when the interpreter ends.
        with suppress(OSError), Path(os.devnull).open("w") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())
        return error
    return None


def _occupy_descriptors() -> None:
    """Lets no file or connection get the number of a standard stream that is closed."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(descriptor)
    if cast(TextIO | None, sys.stderr) is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - as long as the process lives
