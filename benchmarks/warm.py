"""What it brings that descriptions repeat, and that the model's API remembers them."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import psycopg
import typer
from compare import environ, make_tables
from contenders import ASSAY
from figures import Figure, about, spread
from found import Part, Warmed
from harness import Bench, Rejects, alone, check, console, ended_in_words, started
from measure import run
from rich import box
from rich.console import Console
from rich.table import Table
from sample import DAYS, Sample, Traffic, send
from stream import SERVERS, make_topic
from written import OUT, merge

from assay_local import databases

_TRAFFIC: Final[tuple[Traffic, ...]] = ("even", "skewed")


def warm(
    *,
    records: Annotated[int, typer.Option(min=1_000, help="On each topic.")] = 1_000_000,
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
        WrongResult: the tables do not hold what was sent, or a warm API said something else.
        CommandFailed: a consumer did not end as it should.
    """
    topics: dict[Traffic, tuple[str, Sample]] = {}
    for traffic in _TRAFFIC:
        with console.status(f"Preparing {records:,} records …"):
            topic = make_topic(bench)
            sent = partial(send, traffic=traffic)
            url = bench.local.kafka.url
            topics[traffic] = topic, alone(sent, url, topic, records, "scattered", DAYS)
    found: list[Warmed] = []
    for number in range(runs):
        for traffic, (topic, sample) in topics.items():
            bench.fresh_api("model")
            for is_warm in (False, True):
                what = f"{traffic}, {'warm' if is_warm else 'cold'}"
                with console.status(f"{what}, run {number + 1} of {runs} …"):
                    name = f"{topic}-{number}-{is_warm}"
                    found.append(Warmed(traffic, is_warm, _once(bench, topic, sample, name)))
                console.print(f"{what}: {found[-1].figure.rate:,.0f} records/s")
    return found


def _once(bench: Bench, topic: str, sample: Sample, name: str) -> Figure:
    url = databases.create(bench.local.postgres.url, name)
    environment = environ(bench, url, bench.local.api.settings)
    make_tables("assay", url, environment)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    load = os.getloadavg()[0]
    options = ["--topic", topic, "--group", name, "--until-idle", "0"]
    servers = bench.processes(SERVERS, "model")
    spent = run([ASSAY, "stream", "consume", *options], environment, servers)
    check(url, "assay", sample, Rejects(table="dead_letters"))
    databases.drop(bench.local.postgres.url, name)
    return Figure(
        job="stream",
        api="model",
        way="assay",
        rows=sample.rows,
        seconds=spent.seconds,
        inner_seconds=json.loads(spent.output)["seconds"],
        cpu={"assay": spent.cpu, **spent.servers},
        others=spent.others,
        load=load,
        peak=spent.peak,
    )


def _print(found: Sequence[Warmed]) -> None:
    table = Table("descriptions come", box=box.SIMPLE_HEAD, title="With the model")
    table.title_justify = "left"
    for name in ("API", "records/s", "CPU s of 1 M: API"):
        table.add_column(name, justify="right", no_wrap=True)
    for traffic, is_warm in dict.fromkeys((each.traffic, each.is_warm) for each in found):
        same = [e.figure for e in found if (e.traffic, e.is_warm) == (traffic, is_warm)]
        table.add_row(
            traffic,
            "warm" if is_warm else "cold",
            spread([each.rate for each in same], ",.0f"),
            spread([each.cpu["api"] / each.rows * 1e6 for each in same], ".1f"),
        )
    Console(width=80, highlight=False).print(table)


if __name__ == "__main__":
    typer.run(warm)
