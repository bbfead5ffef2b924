"""The command `assay reconcile`."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import typer

from assay.domain.books import Difference, Gap, OnTheWay, Report
from assay.domain.errors import DATA, AssayError
from assay.domain.position import TOPICS
from assay_cli import bootstrap
from assay_cli.offsets import Standing, compare
from assay_cli.output import Json, add, plain, print_json, say, show, table


def reconcile(*, as_json: Json = False) -> None:
    """Prove that every record left through exactly one door.

    From the tables, by source, partition and run: ranges without gap or
    overlap, read = classified + rejected + duplicate, as many rows as were
    counted, a dead letter for every reject, and what became of each letter. Of
    topics that were read the books are held against what the brokers still
    have, where settings name any (ASSAY_KAFKA__BOOTSTRAP_SERVERS). Nothing is
    changed; the result is noted in the table `runs`, for those who watch.

    Exit codes: 0 the books balance, 65 they do not: every difference is named;
    75 PostgreSQL or Kafka is away, 78 settings are wrong or `assay migrate` is
    due.
    """
    report = bootstrap.reconcile()
    ask = bootstrap.topics()
    standings: Sequence[Standing] = ()
    gaps: Sequence[Difference] = ()
    if ask is not None:
        # After the books: a topic grows only.
        standings, gaps = compare(report.unfinished, ask)
        report = replace(report, differences=(*report.differences, *gaps))
    try:
        bootstrap.note_proof(report)
    except AssayError as error:  # a role that may only read proves the books as well
        bootstrap.complain(f"the result is not noted, so that no alert tells of it: {error}")
    if as_json:
        print_json(_document(report, standings))
    else:
        _show(report, standings, were_asked=ask is not None)
        for source in dict.fromkeys(each.source for each in gaps if each.source):
            topic = plain(source.removeprefix(TOPICS))
            command = f"assay stream accept-gap --topic {topic}"
            say(f"To go on, if this is the right cluster: {command}")
    if report.differences:
        raise typer.Exit(DATA)


def _document(report: Report, standings: Sequence[Standing]) -> dict[str, Any]:
    return {
        "balanced": not report.differences,
        "entries": report.entries,
        **asdict(report.tally),
        "redriven": report.redriven,
        "imported": report.imported,
        "rescored": report.rescored,
        "delivered": report.delivered,
        "differences": [asdict(each) for each in report.differences],
        "unfinished": [asdict(each) for each in report.unfinished],
        "gaps": [asdict(each) for each in report.gaps],
        "on_the_way": [asdict(each) for each in report.on_the_way],
        "topics": [asdict(each) for each in standings],
    }


def _show(report: Report, standings: Sequence[Standing], *, were_asked: bool) -> None:
    tally = report.tally
    left = tally.classified + tally.rejected + tally.duplicate
    proof = table("door", "records", numbers=("records",))
    for door in ("classified", "rejected", "duplicate"):
        add(proof, door, getattr(tally, door))
    add(proof, "together", left)
    add(proof, "read", tally.read)
    show(proof)
    parts = {
        "dead letters that were tried again": report.redriven,
        "dead letters that were taken in": report.imported,
        "transactions that were predicted again": report.rescored,
        "predictions that were classified before": report.delivered,
    }
    for what, number in parts.items():
        if number:
            say(f"{number:,} of those read are {what}.")
    say()
    opened = [
        each for each in report.unfinished if not (were_asked and each.source.startswith(TOPICS))
    ]
    if opened:
        say("Not at their end yet, which is no fault:")
        rows = table("source", "partition", "next", numbers=("next",))
        for each in opened:
            add(rows, each.source, each.partition, each.next)
        show(rows)
        say()
    if standings:
        _show_topics(standings)
    elif any(each.source.startswith(TOPICS) for each in opened):
        say("The topics themselves were not looked at: set ASSAY_KAFKA__BOOTSTRAP_SERVERS.\n")
    if report.gaps:
        _show_gaps(report.gaps)
    if report.on_the_way:
        _show_on_the_way(report.on_the_way)
    _conclude(report)


def _show_topics(standings: Sequence[Standing]) -> None:
    say("Topics beside the books, in offsets:")
    numbers = ("begins", "read from", "read to", "ends", "to come")
    rows = table("source", "partition", *numbers, numbers=numbers)
    for each in standings:
        add(
            rows,
            each.source,
            each.partition,
            each.begins,
            "-" if each.first is None else each.first,
            "-" if each.next is None else each.next,
            each.ends,
            each.to_come,
        )
    show(rows)
    if before := sum(each.before for each in standings):
        say(f"{before:,} offsets before `read from` are not read, as reading began later.")
    say()


def _show_gaps(gaps: Sequence[Gap]) -> None:
    say("Gaps that were accepted: offsets that were gone before they were read.")
    rows = table("source", "partition", "first", "next", numbers=("first", "next"))
    for each in gaps:
        add(rows, each.source, each.partition, each.first, each.next)
    show(rows)
    say()


def _show_on_the_way(found: Sequence[OnTheWay]) -> None:
    say("On the way from a classifier's topics, since less than ten minutes:")
    rows = table("source", "what", "expected", "found", numbers=("expected", "found"))
    for each in found:
        add(rows, each.source, each.what, each.expected, each.found)
    show(rows)
    say()


def _conclude(report: Report) -> None:
    if not report.differences:
        entries = "1 ledger entry" if report.entries == 1 else f"{report.entries:,} ledger entries"
        say(f"[green]The books balance[/], over {entries}.")
        return
    for each in report.differences:
        say(
            f"[red]{plain(each.what)}[/]: "
            f"expected {_number(each.expected)}, found {_number(each.found)}"
        )
        for name in ("source", "partition", "run_id"):
            if (value := getattr(each, name)) is not None:
                say(f"  {name.removesuffix('_id')}  {plain(value)}")
    number = len(report.differences)
    named = "1 difference" if number == 1 else f"{number:,} differences"
    say(f"\n[red]The books do not balance[/]: {named}.")


def _number(value: int | None) -> str:
    return "nothing" if value is None else f"{value:,}"
