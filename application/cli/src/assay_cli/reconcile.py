"""The command `assay reconcile`."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from assay.domain.errors import DATA
from assay_cli import bootstrap
from assay_cli.output import Json, add, plain, print_json, say, show, table

if TYPE_CHECKING:
    from assay_cli.bootstrap import Report


def reconcile(*, as_json: Json = False) -> None:
    """Prove from the tables that every record left through exactly one door.

    By source, partition and run: ranges without gap or overlap, read =
    classified + rejected + duplicate, as many rows in the tables as were
    counted, and a dead letter for every reject. Nothing is changed.

    Exit codes: 0 the books balance, 65 they do not: every difference is named;
    75 PostgreSQL is away, 78 settings are wrong or `assay migrate` is due.
    """
    report = bootstrap.reconcile()
    if as_json:
        print_json(_document(report))
    else:
        _show(report)
    if report.differences:
        raise typer.Exit(DATA)


def _document(report: "Report") -> dict[str, Any]:
    return {
        "balanced": not report.differences,
        "entries": report.entries,
        **asdict(report.tally),
        "differences": [asdict(each) for each in report.differences],
        "unfinished": [asdict(each) for each in report.unfinished],
    }


def _show(report: "Report") -> None:
    tally = report.tally
    left = tally.classified + tally.rejected + tally.duplicate
    proof = table("door", "records", numbers=("records",))
    for door in ("classified", "rejected", "duplicate"):
        add(proof, door, getattr(tally, door))
    add(proof, "together", left)
    add(proof, "read", tally.read)
    show(proof)
    say()
    if report.unfinished:
        say("Not at their end yet, which is no fault:")
        opened = table("source", "partition", "next", numbers=("next",))
        for each in report.unfinished:
            add(opened, each.source, each.partition, each.next)
        show(opened)
        say()
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
    say(f"\n[red]The books do not balance[/]: {len(report.differences):,} differences.")


def _number(value: int | None) -> str:
    return "nothing" if value is None else f"{value:,}"
