"""The command line of `assay dead-letters import`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a run uses

from typing import Annotated

import typer

from assay_cli import bootstrap
from assay_cli.letter_filter import By


def import_(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE",
            help="JSON lines as a run leaves them under errors/: a path, s3://bucket/key, what"
            " begins with s3://bucket/errors/, or - for standard input; .gz and .zst too. May be"
            " repeated.",
        ),
    ] = None,
    *,
    topic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A dead-letter topic, read from its beginning to where it ends now. May be"
            " repeated.",
        ),
    ] = None,
    by: By = None,
) -> None:
    """Take in dead letters that only another database, or a lost one, knew.

    A letter whose origin was read or imported here is refused and counted, so
    that repeating an import does no harm; of several attempts of one letter
    the last counts. The others are open, and can be tried again: also those
    that were closed or discarded where they come from, unless they were left
    out there by `assay dead-letters export --format jsonl --state open`.
    Messages of a topic that are no dead letters of Assay are counted as
    foreign and left alone.

    Examples:
      assay dead-letters import s3://cards/errors/
      assay dead-letters import letters.jsonl.gz
      assay dead-letters import --topic failed-transactions

    The last line on standard output is a summary in JSON.

    Exit codes: 0 done, also where some were known; 65 a file cannot be read;
    75 something is away: run again; 78 settings are wrong; 99 all were known,
    and nothing more was said of any.
    """
    from assay_cli import import_run

    if not files and not topic:
        raise typer.BadParameter("name files, or a topic with --topic")
    raise typer.Exit(import_run.run(files or (), topic or (), by=by or bootstrap.user()))
