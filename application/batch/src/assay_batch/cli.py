"""The command line of the batch service: what can be asked of it."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a run uses

import re
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

app = typer.Typer(
    help="Classify the transactions in files, in one run that can always be repeated.",
    no_args_is_help=True,
)

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


_Uris = Annotated[
    list[str],
    typer.Argument(
        metavar="URI",
        help="s3://bucket/key, a folder that ends in /, a pattern with * or ?, or a local path;"
        " .gz and .zst are unpacked. May be repeated.",
    ),
]
_Contract = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        help="How the files are written, an ODCS document; `assay contract new` drafts one.",
    ),
]
_Patience = Annotated[
    str,
    typer.Option(
        metavar="DURATION",
        help="How long a dependency may be away before the run ends with 75: 90s, 15m, 2h.",
    ),
]


@app.command()
def run(
    uris: _Uris,
    contract: _Contract,
    *,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Read and validate only; write nothing anywhere.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Read this many records at most.")
    ] = None,
    patience: _Patience = "15m",
    reject_limit: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="The share of a file's records that may be rejected, from 0 to 1. Beyond it the"
            " file is left uncommitted, since something else than its records must be wrong."
            " 1 accepts any.",
        ),
    ] = 0.5,
    archive: Annotated[
        bool, typer.Option("--archive", help="Move files that are finished; nothing is replaced.")
    ] = False,
    archive_to: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Move them there, not to archive/ beside local files or at the top of the bucket.",
        ),
    ] = None,
    errors: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Where rejects are published; unless given, errors/ beside local files or at the"
            " top of the bucket.",
        ),
    ] = None,
) -> None:
    """Classify files and store transactions, predictions and rejects in PostgreSQL.

    Repeat a run whenever you like: a finished file is passed over, one that was
    read in part is resumed, and a record that is known already is a duplicate.

    Examples:
      assay batch run s3://cards/inbox/ --contract cards.odcs.yaml --archive
      assay batch run cards-2024-05.csv --contract cards.odcs.yaml --dry-run

    The last line on standard output is a summary in JSON.

    Exit codes: 0 done; 65 files failed, or too many records were rejected; 75 a
    dependency was away: run again; 78 settings or the command line are wrong;
    99 nothing to do.
    """
    from assay_batch import command

    code = command.run(
        uris,
        contract,
        dry=dry,
        limit=limit,
        patience=_seconds(patience),
        reject_limit=reject_limit,
        archive=archive,
        archive_to=archive_to,
        errors=errors,
    )
    raise typer.Exit(code)


@app.command("list")
def list_waiting(
    uris: _Uris,
    contract: _Contract,
    *,
    most: Annotated[
        int, typer.Option(min=1, metavar="N", help="Name this many files at most.")
    ] = 1_000,
    patience: _Patience = "15m",
    archive_to: Annotated[
        str | None,
        typer.Option(metavar="URI", help="As of the run: what was moved there waits no more."),
    ] = None,
    errors: Annotated[
        str | None, typer.Option(metavar="URI", help="As of the run: what lies there is no input.")
    ] = None,
) -> None:
    """Name the files that a run would do: all but those that are finished.

    For schedulers that start a run for each. Nothing is written anywhere.

    Examples:
      assay batch list s3://cards/inbox/ --contract cards.odcs.yaml

    The last line on standard output is JSON; `files` names the first --most
    in order, as `assay batch run` takes them; `waiting` and `bytes` count all.

    Exit codes: 0 there are some; 65 a file that is named does not exist; 75 a
    dependency was away: run again; 78 settings or the command line are wrong;
    99 nothing to do.
    """
    from assay_batch import command

    code = command.list_waiting(
        uris,
        contract,
        most=most,
        patience=_seconds(patience),
        archive_to=archive_to,
        errors=errors,
    )
    raise typer.Exit(code)


def _seconds(duration: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", duration)
    if match is None:
        raise typer.BadParameter(f"{duration} is no duration such as 90s, 15m or 2h")
    return float(match[1]) * _UNITS[match[2] or "s"]


def main() -> NoReturn:
    """Runs the service by itself, as in its image."""
    from assay_batch import bootstrap

    bootstrap.run(app)
