"""The command line of the lake's upkeep."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

import json
from datetime import datetime
from typing import Annotated

import typer

from assay.domain.errors import NOTHING_TO_DO

app = typer.Typer(
    help="Keep the Delta table of `assay connect lake` in shape.", no_args_is_help=True
)

_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@app.command()
def compact(
    *,
    date: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="Only that of this day."),
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Make files of about ASSAY_LAKE__FILE_MIB of smaller ones.

    What the table holds stays the same. It may run beside connectors, as by cron
    every night. The small files stay until `assay lake vacuum`, for whoever reads
    an older version.

    Examples:
      assay lake compact
      assay lake compact --date 2026-01-31

    Exit codes: 0 done; 75 the table's place is away, or somebody else compacts
    it; 78 settings are wrong, or there is no table; 99 there is nothing to
    compact.
    """
    from assay_streaming.bootstrap import lake

    day = None if date is None else date.date().isoformat()
    found = lake.compact(lake.settings(), date=day)
    if as_json:
        typer.echo(json.dumps(found._asdict()))
    elif not found.removed:
        typer.echo("nothing to compact")
    else:
        typer.echo(f"{found.removed:,} files are {found.added:,} now")
    if not found.removed:
        raise typer.Exit(NOTHING_TO_DO)


@app.command()
def vacuum(
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted.")
    ] = False,
    as_json: _AsJson = False,
) -> None:
    """Delete files that no version needs which is younger than ASSAY_LAKE__KEEP_HOURS.

    Whoever reads an older version than that does not find its files any more.

    Examples:
      assay lake vacuum --dry-run
      assay lake vacuum

    Exit codes: 0 done; 75 the table's place is away; 78 settings are wrong, or
    there is no table.
    """
    from assay_streaming.bootstrap import lake

    files = lake.vacuum(lake.settings(), dry_run=dry_run)
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "files": files}))
        return
    for each in files if dry_run else ():
        typer.echo(each)
    typer.echo(f"{len(files):,} files {'would be deleted' if dry_run else 'are deleted'}")
