"""The commands `assay review`: `list`, `show` and `history` are here."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from assay.domain.wording import counted
from assay_cli import bootstrap, review_file
from assay_cli.corrections import SHORT, Group, correct, import_, publish, whole_name, withdraw
from assay_cli.letter_filter import MANY
from assay_cli.output import Json, add, plain, print_json, say, show, table
from assay_cli.review_file import amount, amounts, known

app = typer.Typer(
    help="Look at what the model is unsure of, and say what it really is.", no_args_is_help=True
)


@app.command("list")
def list_(
    *,
    by: Annotated[
        Literal["number", "amount"],
        typer.Option(
            metavar="WHAT", help="number or amount: most transactions, or the greatest sum."
        ),
    ] = "number",
    currency: Annotated[
        str | None,
        typer.Option(
            metavar="CODE",
            help="Of the sum, which is shown of this one alone; unless given, that of the most"
            " transactions.",
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what this model, or version, says.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(metavar="CATEGORY", help="Only what is taken for this.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MANY,
            metavar="N",
            help="How many, at most.",
            show_default="20; all in a file",
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write them for a spreadsheet; `import` reads it."),
    ] = None,
    delimiter: Annotated[
        Literal[",", ";"],
        typer.Option(metavar="CHARACTER", help="A comma or ; as local spreadsheets expect."),
    ] = ",",
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
    as_json: Json = False,
) -> None:
    """List what needs review, in groups of equal descriptors, largest first.

    A group is what is the same to the model: descriptions and merchants that
    differ in case, punctuation or numbers of three digits or more only. Of each
    transaction the newest prediction counts. What was corrected is left out.

    Descriptions are shown. A file is for its owner only; fill in its column
    category, and a reason if you like, and give it to `assay review import`.

    Examples:
      assay review list --by amount --currency EUR
      assay review list --csv review.csv --limit 500

    Exit codes: 0 done, also where there is nothing; 75 PostgreSQL is away, 78
    the file exists, settings are wrong or `assay migrate` is due.
    """
    if currency is not None and by != "amount":
        raise typer.BadParameter("belongs to --by amount", param_hint="--currency")
    if category is not None:
        known(category)
    currency = currency.upper() if currency else None
    with bootstrap.review() as review:
        groups = review.groups(
            model=model,
            category=category,
            by_amount=by == "amount",
            currency=currency,
            limit=limit or (None if csv else 20),
        )
    total = groups[0]["groups"] if groups else 0
    if csv is not None:
        review_file.write(csv, groups, delimiter=delimiter, replace=force)
    if as_json:
        every = {"total": total, "transactions": groups[0]["waiting"] if groups else 0}
        wrote = {"file": str(csv)} if csv else {"groups": [_group(each) for each in groups]}
        print_json(every | wrote)
    elif csv is not None:
        say(f"Wrote {counted(len(groups), 'group', 'groups')} to {plain(csv)}.")
    elif groups:
        _show_groups(groups, by_amount=by == "amount", currency=currency)
    else:
        say("Nothing needs review.")


@app.command("show")
def show_(
    group: Group,
    *,
    limit: Annotated[
        int, typer.Option(min=0, max=MANY, metavar="N", help="How many transactions are shown.")
    ] = 10,
    as_json: Json = False,
) -> None:
    """Show a group: what was predicted, what people said, sums, latest transactions.

    Exit codes: 0 done, 65 there is no such group, 75 PostgreSQL is away, 78
    settings are wrong or `assay migrate` is due.
    """
    with bootstrap.review() as review:
        name = whole_name(group, review)
        correction = review.correction(name)
        predicted = review.predicted(name)
        sums = review.sums(name)
        latest = review.latest(name, limit)
    if as_json:
        facts: dict[str, Any] = {"group": name, "correction": correction, "predicted": predicted}
        print_json(facts | {"sums": sums, "latest": latest})
        return
    say(f"[bold]{plain(name)}[/]")
    if correction:
        said = f"{correction['category']}, says {correction['by']}"
        say(f"Corrected: {plain(said)} at {_minute(correction['at'])}")
    numbers = ("number", "conf.", "to review")
    whole = ("category", "model", "version")
    rows = table(*whole, *numbers, numbers=numbers, whole=whole)
    for each in predicted:
        add(
            rows,
            *(each[name] for name in ("category", "model_name", "model_version", "transactions")),
            f"{each['confidence']:.2f}",
            each["needs_review"],
        )
    say()
    show(rows)
    rows = table("side", "currency", "transactions", "amount", numbers=("transactions", "amount"))
    for each in sums:
        add(rows, each["side"], each["currency"], each["transactions"], amount(each["amount"]))
    say()
    show(rows)
    if latest:
        say()
        _show_transactions(latest)


@app.command()
def history(
    group: Annotated[
        str | None, typer.Argument(metavar="GROUP", help="Unless given, all of them.")
    ] = None,
    *,
    limit: Annotated[
        int, typer.Option(min=1, max=MANY, metavar="N", help="How many, the latest.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """Show what people have said, the latest first: who, when, from what to what.

    Exit codes: 0 done, also where there is nothing; 65 there is no such group,
    75 PostgreSQL is away, 78 settings are wrong or `assay migrate` is due.
    """
    with bootstrap.review() as review:
        name = None if group is None else whole_name(group, review)
        found = review.history(name, limit)
    if as_json:
        print_json({"corrections": found})
    elif found:
        headings = ["at (UTC)", "by", "group", "from", "to", "description"]
        reasons = any(each["reason"] for each in found)
        # An id of a transaction may be as long as a line.
        whole = ("at (UTC)", "from", *(["group"] * all(each["feature_hash"] for each in found)))
        rows = table(*headings, *(["reason"] * reasons), whole=whole)
        for each in found:
            subject = each["transaction_id"] or each["feature_hash"][:SHORT]
            to = each["category"] or "(withdrawn)"
            at, description = _minute(each["at"]), each["description"]
            why = [each["reason"]] if reasons else []
            add(rows, at, each["by"], subject, each["previous"], to, description, *why)
        show(rows)
    else:
        say("Nobody has corrected anything.")


app.command()(correct)
app.command()(withdraw)
app.command("import")(import_)
app.command()(publish)


def _group(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("transactions", "amounts", "category", "confidence", "description", "merchant")
    return {"group": row["feature_hash"], **{name: row[name] for name in names}}


def _show_groups(groups: list[dict[str, Any]], *, by_amount: bool, currency: str | None) -> None:
    numbers = ("number", "amount", "conf.")
    headings = ("group", "number", "amount", "category", "conf.", "example")
    rows = table(*headings, numbers=numbers, whole=("group", "category"))
    for each in groups:
        add(
            rows,
            each["feature_hash"][:SHORT],
            each["transactions"],
            amounts(each["amounts"], currency),
            each["category"],
            f"{each['confidence']:.2f}",
            _descriptor(each),
        )
    show(rows)
    first = groups[0]
    measure = f" by their sum in {first['measure']}" if by_amount else ""
    say(
        f"\n{len(groups):,} of {counted(first['groups'], 'group', 'groups')}, the largest"
        f"{plain(measure)}; {counted(first['waiting'], 'transaction needs', 'transactions need')}"
        " review in all."
    )
    say("assay review correct GROUP CATEGORY says what one really is.")


def _show_transactions(latest: list[dict[str, Any]]) -> None:
    rows = table(
        "transaction", "at (UTC)", "amount", "descriptor", "corrected", numbers=("amount",)
    )
    for each in latest:
        add(
            rows,
            each["transaction_id"],
            _minute(each["timestamp"]),
            f"{amount(each['amount'])} {each['currency']}",
            _descriptor(each),
            each["corrected"],
        )
    show(rows)


def _descriptor(row: Mapping[str, Any]) -> str:
    return (
        row["description"] if not row["merchant"] else f"{row['description']} · {row['merchant']}"
    )


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
