"""The command `assay dead-letters discard`."""

from typing import Annotated

import typer

from assay.domain.choice import Filter
from assay.domain.errors import NOTHING_TO_DO
from assay.domain.wording import counted
from assay_cli import bootstrap
from assay_cli.letter_filter import By, filtered, require_known
from assay_cli.output import Json, add, print_json, say, show, table


@filtered("states", must_choose=True)
def discard(
    *,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; it is kept with each letter.")],
    dry: Annotated[bool, typer.Option("--dry-run", help="Say how many it would be.")] = False,
    by: By = None,
    chosen: Filter,
    as_json: Json = False,
) -> None:
    r"""Give open dead letters up: nothing tries them again.

    They stay in the tables, and who has discarded them when and why. Letters
    that a redrive holds just now are left alone.

    Example:
      assay dead-letters discard --code invalid_amount --until 2024-05-01 \
          --reason "test data of the supplier"

    Exit codes: 0 done, 75 PostgreSQL is away, 78 nothing says which letters,
    or settings are wrong; 99 there are none.
    """
    if not reason.strip():
        raise typer.BadParameter("say why; it is kept with each letter", param_hint="--reason")
    meant: Filter = {**chosen, "states": ("open",)}
    with bootstrap.dead_letters() as letters:
        require_known(chosen, letters)
        counts = letters.counts({**meant, "held": False})
        held = sum(each["letters"] for each in letters.counts({**meant, "held": True}))
    number = sum(each["letters"] for each in counts)
    if number and not dry:
        number = bootstrap.discard(chosen, by=by or bootstrap.user(), reason=reason)
    if as_json:
        print_json({"discarded": 0 if dry else number, "open": number if dry else 0, "held": held})
    else:
        if dry and number:
            summed = table("letters", "code", "field", "stage", numbers=("letters",))
            for each in counts:
                add(summed, *(each[name] for name in ("letters", "code", "field", "stage")))
            show(summed)
        letters_are = counted(number, "dead letter is", "dead letters are")
        would = "to be " if dry else ""
        say(f"{letters_are} {would}discarded." if number else "None is open.")
        if held:
            say(f"{held:,} more are left alone, since a redrive holds them.")
    if not number:
        raise typer.Exit(NOTHING_TO_DO)
