"""What it brings that descriptions repeat, and that the model's API remembers them."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from figures import about, spread
from found import Part, Warmed
from harness import Bench, console, ended_in_words, started
from rich import box
from rich.console import Console
from rich.table import Table
from sample import LEAST, Sample, Traffic
from stream import SERVERS, consumed, sent
from written import OUT, merge

_TRAFFIC: Final[tuple[Traffic, ...]] = ("even", "skewed")


def warm(
    *,
    records: Annotated[int, typer.Option(min=LEAST, help="On each topic.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Of each case, in turns.")] = 3,
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a stream with the model whose API was asked about its records before, or not.

    Servers of its own, one consumer, each run on a fresh database. Descriptions come equally often,
    or a few of them very often. A run that is cold begins with a fresh API; the one that is warm
    comes right after it.
    """
    with ended_in_words(), started(*SERVERS, keep=False) as bench:
        found = measured_warm(bench, records=records, runs=runs)
        settings = about(bench.local, "scattered", api="model", records=records)
    if as_json:
        print(json.dumps({"about": settings, "runs": [asdict(each) for each in found]}))
    else:
        _print(found)
    merge(out, warm=Part(settings, found))


def measured_warm(bench: Bench, *, records: int, runs: int) -> list[Warmed]:
    """The figures of all cases, in turns.

    Args:
        bench: with the servers of `SERVERS`.
        records: on each topic.
        runs: of each case.

    Raises:
        WrongResult: the tables do not hold what was sent, with a warm API as well.
        CommandFailed: a consumer did not end as it should.
    """
    topics: dict[Traffic, tuple[str, Sample]] = {}
    for traffic in _TRAFFIC:
        with console.status(f"Preparing {records:,} records …"):
            topics[traffic] = sent(bench, records, traffic=traffic)
    found: list[Warmed] = []
    for number in range(runs):
        for traffic, (topic, sample) in topics.items():
            reached = bench.fresh_api("model")
            for is_warm in (False, True):
                what = f"{traffic}, {'warm' if is_warm else 'cold'}"
                with console.status(f"{what}, run {number + 1} of {runs} …"):
                    name = f"{topic}-{number}-{is_warm}"
                    figure = consumed(bench, topic, sample, name, api="model", reached=reached)
                found.append(Warmed(traffic, is_warm, figure))
                console.print(f"{what}: {figure.rate:,.0f} records/s")
    return found


def _print(found: Sequence[Warmed]) -> None:
    table = Table("descriptions come", box=box.SIMPLE_HEAD, title="With the model")
    table.title_justify = "left"
    for name in ("API", "records/s", "CPU s of 1 M: API"):
        table.add_column(name, justify="right", no_wrap=True)
    for traffic, is_warm in dict.fromkeys((each.traffic, each.is_warm) for each in found):
        same = [each.figure for each in found if (each.traffic, each.is_warm) == (traffic, is_warm)]
        table.add_row(
            traffic,
            "warm" if is_warm else "cold",
            spread([each.rate for each in same], ",.0f"),
            spread([each.per_million("api") for each in same], ".1f"),
        )
    Console(width=80, highlight=False).print(table)


if __name__ == "__main__":
    typer.run(warm)
