"""The command `assay config`."""

from typing import TYPE_CHECKING

import typer

from assay.domain.errors import CONFIGURATION, Fatal
from assay_cli import bootstrap
from assay_cli.output import Json, add, print_json, show, table

if TYPE_CHECKING:
    from assay_cli.bootstrap import Row


def config(*, as_json: Json = False) -> None:
    """Show the settings as they stand, and where each comes from.

    ASSAY_POSTGRES__URL sets `url` of the section `postgres`, and so on. The
    environment goes before the file .env in the current folder. Passwords and
    keys are shown as stars.

    Shown are the sections that services share. Where one is wrong that is
    said, and the others are shown all the same.

    Exit codes: 0 all are right, 78 some are wrong, missing or unknown.
    """
    rows: list[Row] = []
    problems: dict[str, None] = {}
    for load in bootstrap.sections().values():
        try:
            rows += load().rows
        except Fatal as error:
            problems |= dict.fromkeys(reasons(error))
    if as_json:
        settings = [{"name": row.name, "value": row.value, "origin": row.origin} for row in rows]
        print_json({"settings": settings, "problems": list(problems)})
    else:
        shown = table("setting", "value", "origin")
        for row in rows:
            add(shown, row.name, row.value or "-", row.origin)
        if rows:
            show(shown)
        for each in problems:
            bootstrap.complain(each)
    if problems:
        raise typer.Exit(CONFIGURATION)


def reasons(error: Fatal) -> list[str]:
    """What is wrong with the settings, one by one: the first line sums the others up."""
    first, *rest = str(error).splitlines()
    return [each.strip() for each in rest] or [first]
