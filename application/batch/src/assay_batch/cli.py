"""The command line of the batch service."""

import re
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn
from uuid import uuid4

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from assay.contract.document import parse
from assay.domain.errors import TEMPORARY, AssayError, Fatal
from assay.pipeline.pump import Policy
from assay_batch import bootstrap
from assay_batch.dry_run import dry_run
from assay_batch.places import places
from assay_batch.progress import shown
from assay_batch.run import Request, Result
from assay_batch.run import run as run_batch

app = typer.Typer(
    help="Classify the transactions in files, in one run that can always be repeated.",
    no_args_is_help=True,
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@app.callback()
def batch() -> None:
    """Keeps `run` a command of its own."""


@app.command()
def run(
    uris: Annotated[
        list[str],
        typer.Argument(
            metavar="URI...",
            help="s3://bucket/key, a folder that ends in /, a pattern with * or ?, or a local path;"
            " .gz and .zst are unpacked.",
        ),
    ],
    contract: Annotated[
        Path,
        typer.Option(
            help="How the files are written, an ODCS document; `assay contract new` drafts one.",
        ),
    ],
    *,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Read and validate only; write nothing anywhere.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Read this many records at most.")
    ] = None,
    patience: Annotated[
        str,
        typer.Option(help="How long a dependency may be away before the run ends with 75."),
    ] = "15m",
    reject_limit: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="The share of a file's records that may be rejected; beyond it the file is left"
            " uncommitted, since something else than its records must be wrong. 1 accepts any.",
        ),
    ] = 0.5,
    archive: Annotated[
        bool, typer.Option("--archive", help="Move files that are finished.")
    ] = False,
    archive_to: Annotated[
        str | None, typer.Option(help="Where to. [default: archive/ beside the files]")
    ] = None,
    errors: Annotated[
        str | None,
        typer.Option(help="Where rejects are published. [default: errors/ beside the files]"),
    ] = None,
) -> None:
    """Classify files and store transactions, predictions and rejects in PostgreSQL.

    Repeat a run whenever you like: a finished file is passed over, one that was read in part is
    resumed, and a record that is known already is a duplicate.

    The last line on standard output is a summary in JSON. Exit codes: 0 done; 65 files failed, or
    too many records were rejected; 75 a dependency was away: run again; 78 settings; 99 nothing to
    do.
    """
    request = Request(
        run_id=str(uuid4()),
        uris=uris,
        places=places(uris, errors=errors, archive=archive_to),
        contract=parse(_read(contract), str(contract)),
        policy=Policy(patience=_seconds(patience), reject_limit=reject_limit, alone=True),
        limit=limit,
        archive=archive,
    )
    result = Result(request.run_id)
    console = Console(stderr=True)
    stopped_by: AssayError | None = None
    try:
        _do(request, result, console, dry=dry)
    except AssayError as error:
        stopped_by = error
        result.status, result.exit_code = "failed", error.exit_code
    except KeyboardInterrupt:
        result.status, result.exit_code = "interrupted", TEMPORARY
    for partition, error in result.problems.items():
        bootstrap.complain(f"{partition}: {error}")
    if stopped_by is not None:
        bootstrap.complain(str(stopped_by))
    bootstrap.last_line(result.summary())
    raise typer.Exit(result.exit_code)


def _do(request: Request, result: Result, console: Console, *, dry: bool) -> None:
    if dry:
        settings = bootstrap.read(bootstrap.ReadSettings)
        objects = bootstrap.objects_for(request.uris, settings)
        with shown(console) as progress:
            codes = dry_run(request, objects, bootstrap.decompress, result, progress)
        _print_codes(codes, result, console)
        return
    settings = bootstrap.read(bootstrap.BatchSettings)
    request = replace(
        request,
        chunk_records=settings.batch.chunk_records,
        policy=replace(
            request.policy,
            window_chunks=settings.batch.window_chunks,
            window_bytes=settings.batch.window_mib << 20,
        ),
    )
    with bootstrap.services(request.uris, settings) as services:
        try:
            with shown(console) as progress:
                run_batch(request, services, result, progress)
        except AssayError as error:
            result.status, result.exit_code = "failed", error.exit_code
            raise
        finally:
            if result.status != "nothing_to_do":
                with suppress(AssayError):  # the books are kept elsewhere; this is a note
                    services.runs.end(request.run_id, result.status, result.summary())


def _print_codes(codes: Counter[tuple[str, str]], result: Result, console: Console) -> None:
    table = Table("code", "field", "records", title="Would be rejected", box=SIMPLE_HEAD)
    table.title_justify = "left"
    table.columns[2].justify = "right"
    for (code, field), count in codes.most_common():
        table.add_row(code, field, f"{count:,}")
    if codes:
        console.print(table)
    console.print(f"{result.tally.classified:,} of {result.tally.read:,} records are valid")


def _read(contract: Path) -> str:
    try:
        return contract.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Fatal(f"the contract {contract} cannot be read: {error}") from None


def _seconds(duration: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", duration)
    if match is None:
        raise typer.BadParameter(f"{duration} is no duration such as 90s, 15m or 2h")
    return float(match[1]) * _UNITS[match[2] or "s"]


def main() -> NoReturn:
    """Runs the service by itself, as in its image."""
    bootstrap.run(app)
