"""The whole benchmark: all contenders, jobs and APIs, the limits, and the document of it."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from batch import BATCH
from compare import Work, measured
from contenders import Ready, chosen, engines, packages, ready
from figures import Figure, Limit, about, print_runs
from found import Contest, Setup
from harness import Api, Bench, ended_in_words, started
from limits import measured_limits, print_limits
from planning import KEPT, PEAK, costs, lines, warning
from planning import plan as plan_for
from rich import box
from rich.console import Console
from rich.table import Table
from sample import Ids
from stream import STREAM
from written import OUT, merge, read, readable, write

from assay_local import LocalError

_WORKS: Final[dict[str, Work]] = {each.job: each for each in (STREAM, BATCH)}
_APIS: Final[dict[str, Api]] = {"stub": "stub", "model": "model"}
_IDS: Final[Ids] = "scattered"
_DOCS: Final = Path(__file__).parents[1] / "docs"


def report(
    *,
    contenders: Annotated[
        str,
        typer.Option(
            help="Who is measured beside the product, with commas: plain, quix, fast, fast3,"
            " benthos, spark, connect; with bench-peers all of them."
        ),
    ] = "plain",
    jobs: Annotated[str, typer.Option(help="What is done, with commas.")] = "stream,batch",
    apis: Annotated[str, typer.Option(help="Which APIs are asked, with commas.")] = "stub,model",
    records: Annotated[int, typer.Option(min=1_000, help="Of each job.")] = 1_000_000,
    limit_records: Annotated[
        int, typer.Option(help="Of each part that is measured alone; 0 for none.")
    ] = 500_000,
    runs: Annotated[int, typer.Option(min=1, help="Of each contender, in turns.")] = 3,
    out: Annotated[Path | None, OUT] = None,
) -> None:
    """Measure contenders on all jobs in turns, and the limits; with --out, write the document.

    With all contenders and the defaults it takes more than an hour. The document is written after
    each job, so that what was found by then is not lost.
    """
    with ended_in_words():
        works = [_WORKS[each] for each in _named(jobs, _WORKS)]
        asked: list[Api] = [_APIS[each] for each in _named(apis, _APIS)]
        ways = [ready(each) for each in chosen(contenders)]
        servers = list(dict.fromkeys(name for each in works for name in each.servers))
        with started(*servers, keep=False) as bench:
            settings = _about(bench, ways)
            runs_found: list[Figure] = []
            limits_found: list[Limit] = []

            def so_far() -> None:
                setups = {each.contender.name: _setup(each) for each in ways}
                merge(out, contest=Contest(settings, setups, runs_found, limits_found))

            for work in works:
                prepared = work.prepare(bench, records, _IDS)
                for api in asked:
                    doing = [each for each in ways if each.contender.does(work.job)]
                    fresh = list(measured(bench, work, prepared, doing, runs=runs, api=api))
                    print_runs(fresh, f"{work.route}, {api} API")
                    runs_found += fresh
                    so_far()
            if limit_records and STREAM in works:
                limits_found += measured_limits(bench, limit_records, runs, _IDS)
                print_limits(limits_found)
                so_far()


def document(
    *,
    out: Annotated[Path, typer.Option(help="The folder that has the document.", callback=readable)],
) -> None:
    """Write document and pictures again from the figures of the last runs."""
    write(read(out), out)


def plan(
    *,
    per_day: Annotated[int, typer.Option(min=1, help="Records a day.")],
    peak: Annotated[
        float, typer.Option(min=1, help="How many times the average comes in busy minutes.")
    ] = PEAK,
    days: Annotated[int, typer.Option(min=1, help="How long rows are kept.")] = KEPT,
    figures: Annotated[
        Path, typer.Option(help="The folder that has the document.", callback=readable)
    ] = _DOCS,
) -> None:
    """Say what so many records a day need, by the figures of scaling and tables.

    docs/planning.md says how it is computed, and what it assumes.
    """
    with ended_in_words():
        cost = costs(read(figures))
    found = plan_for(cost, per_day, peak=peak, days=days)
    table = Table("", f"{per_day:,} records a day", box=box.SIMPLE_HEAD)
    for name, value in lines([found]):
        table.add_row(name, value)
    out = Console(width=80, highlight=False)
    out.print(table)
    if found.rows > cost.present:
        out.print(warning(cost))
    out.print("What it assumes: docs/planning.md.")


def _named(text: str, known: Collection[str]) -> list[str]:
    names = [each.strip() for each in text.split(",") if each.strip()]
    if unknown := [each for each in names if each not in known]:
        raise LocalError(f"there is no {unknown[0]}; there are {', '.join(known)}")
    return names


def _setup(way: Ready) -> Setup:
    who = way.contender
    return Setup(
        title=who.title,
        about={each.job: who.about(each.job) for each in _WORKS.values() if who.does(each.job)},
        packages=packages(who),
        half=who.half,
    )


def _about(bench: Bench, ways: Sequence[Ready]) -> dict[str, Any]:
    found = about(bench.local, _IDS)
    for each in ways:
        found["versions"] |= engines(each.contender)
    return found
