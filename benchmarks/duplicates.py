"""What records cost that come again, by how many they are and where their ids stand among all."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated, Final, NamedTuple

import typer
from figures import about, spread
from found import Part, Repeated
from harness import Api, Bench, console, ended_in_words, started
from rich import box
from rich.console import Console
from rich.table import Table
from sample import LEAST, Sample, Sorts
from stream import SERVERS, consumed, sent
from written import OUT, merge

_CASES: Final[tuple[tuple[int, Sorts], ...]] = (
    (0, "last"),
    (1_000, "first"),
    (1_000, "last"),
    (70_000, "last"),  # now in one chunk, now in none
    (2, "last"),
)


def duplicates(
    *,
    records: Annotated[int, typer.Option(min=LEAST, help="Of which some come again.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Of each case, in turns.")] = 3,
    api: Annotated[Api, typer.Option(help="Which API is asked: a stub, or the model's.")] = "stub",
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a stream of which some records come again.

    Servers of its own, one consumer, each run on a fresh database. A figure counts once the tables
    were found to hold each record once, and the ledger to count the others as duplicates.
    """
    with ended_in_words(), started(*SERVERS, keep=False) as bench:
        found = measured_duplicates(bench, _CASES, records=records, runs=runs, api=api)
        settings = about(bench.local, "scattered", api=api, records=records)
    if as_json:
        print(json.dumps({"about": settings, "runs": [asdict(each) for each in found]}))
    else:
        _print(found)
    merge(out, duplicates=Part(settings, found))


def measured_duplicates(
    bench: Bench, cases: Sequence[tuple[int, Sorts]], *, records: int, runs: int, api: Api
) -> list[Repeated]:
    """The figures of all cases, in turns.

    Args:
        bench: with the servers of `SERVERS`.
        cases: after how many records one comes again, and where its id stands.
        records: that come, besides those.
        runs: of each.
        api: which API is asked.

    Raises:
        WrongResult: the tables do not hold what was sent.
        CommandFailed: a consumer did not end as it should.
    """
    prepared: list[_Case] = []
    for every, sorts in cases:
        if every > records:
            console.print(f"one of {every:,}: left out, since of {records:,} none would come again")
            continue
        with console.status(f"Preparing {records:,} records …"):
            topic, sample = sent(bench, records, every=every, sorts=sorts)
            prepared.append(_Case(every, sorts, topic, sample))
    found: list[Repeated] = []
    for number in range(runs):
        for case in prepared:
            what = f"one of {case.every:,} again, {case.sorts}" if case.every else "none again"
            with console.status(f"{what}, run {number + 1} of {runs} …"):
                figure = consumed(
                    bench,
                    case.topic,
                    case.sample,
                    f"{case.topic}-{number}",
                    api=api,
                    reached=bench.fresh_api(api),
                )
            sorts = case.sorts if case.every else ""
            found.append(Repeated(case.every, sorts, case.sample.again, figure))
            console.print(f"{what}: {figure.rate:,.0f} records/s")
    return found


class _Case(NamedTuple):
    """A topic of which one record comes again after so many, and what is on it."""

    every: int
    sorts: Sorts
    topic: str
    sample: Sample


def _print(found: Sequence[Repeated]) -> None:
    table = Table("one of", box=box.SIMPLE_HEAD, title="By how many come again")
    table.title_justify = "left"
    for name in ("sorts", "records/s", "CPU s of 1 M: consumer", "PostgreSQL"):
        table.add_column(name, justify="right", no_wrap=True)
    for case in dict.fromkeys((each.every, each.sorts) for each in found):
        same = [each.figure for each in found if (each.every, each.sorts) == case]
        table.add_row(
            f"{case[0]:,}" if case[0] else "none",
            case[1],
            spread([each.rate for each in same], ",.0f"),
            f"{median(each.per_million('assay') for each in same):.1f}",
            f"{median(each.per_million('postgres') for each in same):.1f}",
        )
    Console(width=80, highlight=False).print(table)


if __name__ == "__main__":
    typer.run(duplicates)
