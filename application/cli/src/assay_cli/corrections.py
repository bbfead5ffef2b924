"""The commands `assay review correct`, `withdraw`, `import` and `publish`."""

# ruff: noqa: PLC0415 - help and completion do not wait for the libraries that a command uses

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from assay.domain.errors import DATA, NOTHING_TO_DO, Fatal
from assay.domain.wording import counted
from assay_cli import bootstrap, review_file
from assay_cli.letter_filter import By
from assay_cli.output import Json, plain, print_json, say
from assay_cli.review_file import known

if TYPE_CHECKING:
    from assay_cli.bootstrap import Review

SHORT: Final = 8
"""Digits of a group's name that are shown; any that are enough to tell it apart will do."""
_FEWEST: Final = 4

Group = Annotated[str, typer.Argument(metavar="GROUP", help="As `list` shows it, or longer.")]
Reason = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Why; it is kept with the correction.")
]
Transaction = Annotated[
    str | None,
    typer.Option(metavar="ID", help="Of this one alone, in place of all of its group."),
]


class NoSuchGroup(Fatal):
    """No group has the name that was given, or several have."""

    exit_code = DATA


def correct(
    group: Group,
    category: Annotated[str, typer.Argument(metavar="CATEGORY", help="What it really is.")],
    *,
    transaction: Transaction = None,
    reason: Reason = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Say what a group, or one transaction of it, really is.

    The views have it at once, in all versions of predictions; what is said of
    one transaction goes before what is said of its group. The model API has
    it after `assay review publish`, but for single transactions. A group of
    descriptors without a word, only of numbers and signs, is refused: its
    transactions need not be alike.

    Examples:
      assay review correct 0c57998b Restaurant
      assay review correct 0c57998b Travel --transaction T1 --reason "a hotel"

    Exit codes: 0 done, 65 there is no such group or transaction, or no word in
    the group; 75 PostgreSQL is away, 78 there is no such category, or settings
    are wrong; 99 it stands so already.
    """
    _say_of(group, known(category), transaction, reason, by, as_json=as_json)


def withdraw(
    group: Group,
    *,
    transaction: Transaction = None,
    reason: Reason = None,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Take a correction back: what the model says counts again.

    Exit codes: 0 done, 65 there is no such group or transaction, 75 PostgreSQL
    is away, 78 settings are wrong; 99 there is no correction that holds.
    """
    _say_of(group, None, transaction, reason, by, as_json=as_json)


def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="As `list --csv` writes it, filled in.")
    ],
    *,
    by: By = None,
    as_json: Json = False,
) -> None:
    """Take in a filled-in spreadsheet, all of it or nothing.

    It needs the columns group and category, as CSV in UTF-8 with commas,
    semicolons or tabs. Rows without a category are passed over, and what
    stands so already is not noted again, so that repeating it does no harm.

    Exit codes: 0 done, 65 some lines are wrong, or a group has no word: each is
    named, and nothing was noted; 75 PostgreSQL is away, 78 settings are wrong;
    99 nothing is new.
    """
    filled = review_file.read(file)
    with bootstrap.review() as review:
        missing = review.missing(filled)
    lines = sorted(filled.lines[each] for each in missing)
    review_file.refuse(file, [f"line {each}: there is no such group" for each in lines])
    noted = bootstrap.correct_groups(filled, by=by or bootstrap.user()) if filled else 0
    if as_json:
        print_json({"noted": noted, "known": len(filled) - noted})
    else:
        say(f"{counted(noted, 'group was', 'groups were')} corrected.")
        if alike := len(filled) - noted:
            say(f"{alike:,} stood so already.")
    if not noted:
        raise typer.Exit(NOTHING_TO_DO)


def publish(*, as_json: Json = False) -> None:
    """Tell the model API what people have said of groups.

    Writes corrections.json into the registry of models
    (ASSAY_MODELS__REGISTRY), as a whole. The API answers with them for the
    same descriptors from its next look on, and under a version of its own.

    Exit codes: 0 done, 75 PostgreSQL or S3 is away, 78 no registry is named or
    settings are wrong; 99 they were published already.
    """
    from assay.wire import corrections

    objects, place = bootstrap.registry()
    uri = place + corrections.NAME
    with bootstrap.corrections_held() as held:
        body = corrections.write(held)
        there = next(iter(objects.list(uri)), None)
        is_new = there is None or b"".join(objects.read(there)) != body
        if is_new:
            objects.write(uri, body)
    if as_json:
        print_json({"corrections": held.height, "object": uri, "written": is_new})
    else:
        done = "Published" if is_new else "Published already"
        say(f"{done}: {counted(held.height, 'correction', 'corrections')}, {plain(uri)}.")
    if not is_new:
        raise typer.Exit(NOTHING_TO_DO)


def _say_of(
    group: str,
    category: str | None,
    transaction: str | None,
    reason: str | None,
    by: str | None,
    *,
    as_json: bool,
) -> None:
    with bootstrap.review() as review:
        name = whole_name(group, review)
    who = by or bootstrap.user()
    if transaction is None:
        is_new = bool(bootstrap.correct_groups({name: (category, reason)}, by=who))
    else:
        is_new = bootstrap.correct_transaction(transaction, name, category, reason, by=who)
    if as_json:
        print_json({"group": name, "transaction": transaction, "noted": is_new})
    else:
        subject = f"the group {name}" if transaction is None else f"the transaction {transaction}"
        if category is None:
            what = "Withdrawn: what was" if is_new else "Nothing is"
            say(f"{what} said of {plain(subject)}.")
        else:
            stands = "Noted" if is_new else "It stands so already"
            say(f"{stands}: {plain(subject)} is {plain(category)}.")
        if is_new and transaction is None:
            say("`assay review publish` tells the model API.")
    if not is_new:
        raise typer.Exit(NOTHING_TO_DO)


def whole_name(group: str, review: "Review") -> str:
    """The one group whose name begins so."""
    wanted = group.lower()
    if len(wanted) < _FEWEST or not wanted.isalnum():
        raise NoSuchGroup(
            f"{_FEWEST} digits of a group are needed, as `assay review list` shows it"
        )
    found = review.find(wanted)
    if not found:
        raise NoSuchGroup(f"there is no group {wanted}")
    if len(found) > 1 and wanted not in found:
        raise NoSuchGroup(f"several groups begin with {wanted}: {', '.join(found)}")
    return wanted if wanted in found else found[0]
