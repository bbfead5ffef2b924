"""The command `assay config`."""

from typing import Annotated

import typer

from assay.domain.errors import CONFIGURATION
from assay_cli import bootstrap
from assay_cli.output import Json, add, print_json, show, table


def config(
    *,
    as_json: Json = False,
    reference: Annotated[
        bool,
        typer.Option("--reference", help="Print what each setting takes and means, as Markdown."),
    ] = False,
) -> None:
    """Show the settings as they stand, and where each comes from.

    ASSAY_POSTGRES__URL sets `url` of the section `postgres`, and so on. The
    environment goes before the file .env in the current folder. Passwords and
    keys are shown as stars.

    Shown are the sections of all packages that are installed. Where one is
    wrong that is said, and the others are shown all the same.

    Exit codes: 0 all are right, 78 some are wrong, missing or unknown.
    """
    if reference:
        typer.echo(bootstrap.reference())
        return
    found = bootstrap.settings()
    rows = [row for section in found.sections.values() for row in section]
    if as_json:
        settings = [{"name": row.name, "value": row.value, "origin": row.origin} for row in rows]
        print_json({"settings": settings, "problems": list(found.problems)})
    else:
        shown = table("setting", "value", "origin")
        for row in rows:
            add(shown, row.name, row.value or "-", row.origin)
        if rows:
            show(shown)
        for each in found.problems:
            bootstrap.complain(each)
    if found.problems:
        raise typer.Exit(CONFIGURATION)
