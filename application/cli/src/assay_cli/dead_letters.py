"""The commands `assay dead-letters`: `list`, `show` and `export` are here."""

from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from assay.domain.choice import Filter
from assay.domain.errors import DATA, Fatal
from assay.domain.position import TOPICS
from assay.domain.wording import counted
from assay_cli import bootstrap, letter_files
from assay_cli.discard import discard
from assay_cli.import_letters import import_
from assay_cli.letter_filter import MANY, filtered, letter_id, require_known
from assay_cli.output import Json, add, decoded, plain, print_json, say, show, table
from assay_cli.redrive import redrive

app = typer.Typer(
    help="Look at the records that were rejected, and bring them back.", no_args_is_help=True
)


@app.command("list")
@filtered()
def list_(
    *,
    chosen: Filter,
    limit: Annotated[
        int,
        typer.Option(min=0, max=MANY, metavar="N", help="How many of the latest are shown."),
    ] = 20,
    as_json: Json = False,
) -> None:
    """Count dead letters by code, and list the latest; no content is shown.

    Examples:
      assay dead-letters list --since 2h
      assay dead-letters list --code invalid_amount --state open --limit 5

    Exit codes: 0 done, also where there are none; 75 PostgreSQL is away, 78
    settings are wrong or `assay migrate` is due.
    """
    with bootstrap.dead_letters() as letters:
        require_known(chosen, letters)
        counts = letters.counts(chosen)
        latest = letters.latest(chosen, limit)
        others = (
            {each["code"] for each in letters.counts({})}
            if chosen.get("codes") and not counts
            else set[str]()
        )
    total = sum(each["letters"] for each in counts)
    if as_json:
        print_json({"total": total, "counts": counts, "letters": [_facts(row) for row in latest]})
        return
    if not total:
        say("No dead letters match." if chosen else "No dead letters.")
        if others:
            say(f"There are letters of other codes: {plain(', '.join(sorted(others)))}.")
        return
    summed = table("letters", "code", "field", "stage", "state", numbers=("letters",))
    for each in counts:
        add(summed, *(each[name] for name in ("letters", "code", "field", "stage", "state")))
    show(summed)
    if latest:
        say(f"\nThe latest {len(latest):,} of {total:,}:\n")
        rows = table("id", "rejected at (UTC)", "code", "position", numbers=("id",))
        for row in latest:
            add(rows, str(row["id"]), _minute(row["created_at"]), row["code"], _place(row))
        show(rows)
        say()
        of_topics = {row["source"].startswith(TOPICS) for row in latest}
        if False in of_topics:
            say("A file's positions count its records from 0, the header not among them.")
        if True in of_topics:
            say("A topic's positions are partition @ offset.")
        say("assay dead-letters show ID prints one with its content.")
        say("assay dead-letters redrive tries them again: --code CODE, --id ID, --all, …")


@app.command("show")
def show_(
    letter: Annotated[
        int, typer.Argument(metavar="ID", parser=letter_id, help="As `list` shows it.")
    ],
    *,
    as_json: Json = False,
) -> None:
    r"""Show one dead letter: the record's own bytes, and what was done with it.

    Control characters are escaped, and bytes that are no UTF-8 stand as \xff.
    In JSON the latter are in `raw_base64` in place of `raw`.

    Exit codes: 0 done, 65 there is no such letter, 75 PostgreSQL is away, 78
    settings are wrong or `assay migrate` is due.
    """
    with bootstrap.dead_letters() as letters:
        found = letters.one(letter)
        actions = [_facts(each) for each in letters.actions(letter)]
    if found is None:
        raise NoSuchLetter(f"there is no dead letter {letter}")
    contents = {name: found.pop(name) for name in ("key", "header", "raw")}
    facts = _facts(found)
    if as_json:
        for name, content in contents.items():
            facts |= _in_json(name, content)
        print_json(facts | {"actions": actions})
        return
    width = max(map(len, facts))
    _say_facts(facts, width)
    for each in actions:
        say(f"\n[bold]{plain(each.pop('action'))}[/] by {plain(each.pop('by'))}")
        _say_facts(each, width)
    for name, content in contents.items():
        if content is not None:
            cut = name == "raw" and found["length"] > len(content)
            of = f" (the first {len(content):,} of {found['length']:,} bytes)" if cut else ""
            say(f"\n[bold]{name}[/]{of}")
            typer.echo(decoded(content))


@app.command()
@filtered()
def export(
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The file to write.")],
    chosen: Filter,
    form: Annotated[
        Literal["csv", "jsonl"],
        typer.Option("--format", metavar="FORMAT", help="csv, or jsonl, which `import` reads."),
    ] = "csv",
    delimiter: Annotated[
        Literal[",", ";"],
        typer.Option(metavar="CHARACTER", help="A comma or ; as local spreadsheets expect."),
    ] = ",",
    force: Annotated[bool, typer.Option("--force", help="Replace that file.")] = False,
    as_json: Json = False,
) -> None:
    """Write dead letters as CSV, for people who review them in a spreadsheet.

    The file holds the records' content, and only you may read it. It is UTF-8
    with a byte order mark. A cell that a spreadsheet would take for a formula
    gets an apostrophe in front, and one that it could not hold is cut. With
    --format jsonl nothing is changed or cut, for programs and other databases;
    but its lines have no state: letters that are closed or discarded here come
    back open where they are imported, unless --state open leaves them out.

    Examples:
      assay dead-letters export --out review.csv --state open --since 7d
      assay dead-letters export --out l.jsonl --format jsonl --state open

    Exit codes: 0 done, 75 PostgreSQL is away, 78 the file exists, settings are
    wrong or `assay migrate` is due.
    """
    with bootstrap.dead_letters() as letters:
        require_known(chosen, letters)
        if form == "jsonl":
            from assay.wire.envelope import letters_to_jsonl  # noqa: PLC0415 - help waits for no polars

            lines = map(letters_to_jsonl, letters.pages(chosen))
            written = letter_files.write_lines(out, lines, replace=force)
        else:
            written = letter_files.write(
                out, letters.every(chosen), delimiter=delimiter, replace=force
            )
    if as_json:
        print_json({"file": str(out), "letters": written})
    else:
        say(f"Wrote {counted(written, 'dead letter', 'dead letters')} to {plain(out)}.")


app.command()(redrive)
app.command()(discard)
app.command("import")(import_)


class NoSuchLetter(Fatal):
    """No dead letter has the id that was given."""

    exit_code = DATA


def _say_facts(facts: dict[str, Any], width: int) -> None:
    for name, value in facts.items():
        if value is not None:
            say(f"[bold]{name:<{width}}[/]  {plain(value)}")


def _facts(row: dict[str, Any]) -> dict[str, Any]:
    """A letter's facts in JSON's types."""
    return {name: _in_words(value) for name, value in row.items()}


def _in_words(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value.hex() if isinstance(value, bytes) else value


def _in_json(name: str, content: bytes | None) -> dict[str, str | None]:
    if content is None:
        return {name: None}
    try:
        return {name: content.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": b64encode(content).decode()}


def _minute(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def _place(row: dict[str, Any]) -> str:
    """Partition and position of a record, the former as short as people call it."""
    file = row["partition"].partition("#")[0].rpartition("/")[2] or row["partition"]
    return f"{file} @ {row['position']}"
