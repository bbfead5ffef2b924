"""How several consumers of a group share the work, and what it costs."""

import json
import os
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Final

import psycopg
import typer
from compare import environ, make_tables
from contenders import ASSAY
from figures import about, spread
from found import Part, Scaled
from harness import (
    Api,
    Bench,
    Rejects,
    WrongResult,
    alone,
    check,
    console,
    ended_in_words,
    numbers,
    started,
)
from measure import run, run_together
from rich import box
from rich.console import Console
from rich.table import Table
from sample import Ids, Sample, send
from stream import SERVERS, make_topic
from written import OUT, merge

from assay_local import databases

STARTS: Final = 3
"""Consumers of an empty topic, whose median is what a start takes."""

_IDS: Final[Ids] = "scattered"
_LOOK: Final = 0.05  # seconds between two looks at the positions: how exact a figure is


def scaling(
    *,
    consumers: Annotated[str, typer.Option(help="Processes of one group, with commas.")] = "1,2,4",
    partitions: Annotated[str, typer.Option(help="Of the topic, with commas.")] = "1,3,12",
    records: Annotated[int, typer.Option(min=1_000, help="Messages on each topic.")] = 2_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Of each case, in turns.")] = 3,
    api: Annotated[Api, typer.Option(help="Which API is asked: a stub, or the model's.")] = "model",
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure consumers of one group side by side, from a full topic to committed rows.

    Servers of its own, each run on a fresh database, beside an API that was started anew. A case
    with more consumers than partitions is left out: they would have nothing to do. All processes
    share the machine's cores, so that the rate says little of consumers on machines of their own;
    what carries over is CPU per million records, without what starting them takes. A figure counts
    once the tables were found to hold what they must. With few records the first consumer that is
    there reads most of them; how much the busiest one has read is told. About twenty minutes.
    """
    cases = combinations(numbers(partitions), numbers(consumers))
    with ended_in_words(), started(*SERVERS, keep=False) as bench:
        found = measured_scaling(bench, cases, records=records, runs=runs, api=api)
        settings = about(bench.local, _IDS, api=api, records=records)
    if as_json:
        print(json.dumps({"about": settings, "runs": [asdict(each) for each in found]}))
    else:
        _print(found)
    merge(out, scaling=Part(settings, found))


def combinations(partitions: Sequence[int], consumers: Sequence[int]) -> list[tuple[int, int]]:
    """The cases in which each consumer has a partition: partitions and consumers.

    Raises:
        BadParameter: there is none.
    """
    found = [
        (topic, group)
        for topic in sorted(set(partitions))
        for group in sorted(set(consumers))
        if 0 < group <= topic
    ]
    if not found:
        raise typer.BadParameter("there are fewer partitions than consumers")
    return found


def measured_scaling(
    bench: Bench, cases: Sequence[tuple[int, int]], *, records: int, runs: int, api: Api
) -> list[Scaled]:
    """The figures of all cases, in turns.

    Raises:
        WrongResult: the tables do not hold what was sent.
        CommandFailed: a consumer did not end as it should.
    """
    topics: dict[int, tuple[str, Sample]] = {}
    for partitions in dict.fromkeys(each for each, _ in cases):
        with console.status(f"Preparing {records:,} records on {partitions} partitions …"):
            topic = make_topic(bench, partitions)
            topics[partitions] = topic, alone(send, bench.local.kafka.url, topic, records, _IDS)
    with console.status("What starting a consumer takes …"):
        start = _start(bench, api)
    found: list[Scaled] = []
    for number in range(runs):
        for partitions, consumers in cases:
            case = f"partitions: {partitions}, consumers: {consumers}"
            with console.status(f"{case}, run {number + 1} of {runs} …"):
                group = _Group(*topics[partitions], partitions, consumers, start)
                found.append(_once(bench, group, api))
            console.print(f"{case}: {found[-1].rate:,.0f} records/s")
    return sorted(found, key=lambda each: (each.partitions, each.consumers))


@dataclass(frozen=True)
class _Group:
    """What is to be run.

    Attributes:
        topic: to read.
        sample: what is on it.
        partitions: that it has.
        consumers: how many.
        start: CPU seconds of one that has nothing to do.
    """

    topic: str
    sample: Sample
    partitions: int
    consumers: int
    start: float


@contextmanager
def _database(bench: Bench, name: str, api: Api) -> Generator[dict[str, str]]:
    """What consumers find in their environment: a database that is dropped afterwards."""
    url = databases.create(bench.local.postgres.url, name)
    try:
        environment = environ(bench, url, bench.fresh_api(api))
        make_tables("assay", url, environment)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
        yield environment
    finally:
        databases.drop(bench.local.postgres.url, name)


def _consume(topic: str) -> list[str]:
    # The group has the topic's name; positions are in the database, which is a new one each time.
    return [ASSAY, "stream", "consume", "--topic", topic, "--group", topic, "--until-idle", "0"]


def _start(bench: Bench, api: Api) -> float:
    topic = make_topic(bench, 1, end="-empty")
    with _database(bench, topic, api) as environment:
        return median(run(_consume(topic), environment, {}).cpu for _ in range(STARTS))


def _once(bench: Bench, group: _Group, api: Api) -> Scaled:
    with _database(bench, group.topic, api) as environment:
        url = environment["ASSAY_POSTGRES__URL"]
        servers = bench.processes(SERVERS, api)
        load = os.getloadavg()[0]
        with _last_row(url, group.sample.rows) as seen:
            began = time.monotonic()
            spent = run_together([_consume(group.topic)] * group.consumers, environment, servers)
        check(url, "assay", group.sample, Rejects(table="dead_letters"))
    return Scaled(
        api=api,
        partitions=group.partitions,
        consumers=group.consumers,
        rows=group.sample.rows,
        seconds=seen[0] - began,
        cpu={"assay": sum(each.cpu for each in spent), **spent[0].servers},
        start=group.start * group.consumers,
        read=[json.loads(each.output)["read"] for each in spent],
        peaks=[each.peak for each in spent],
        held=spent[0].held,
        others=spent[0].others,
        load=load,
    )


@contextmanager
def _last_row(url: str, records: int) -> Generator[list[float]]:
    """The moment at which all positions together have come so far; it is there after the block.

    Raises:
        WrongResult: they never did.
    """
    seen: list[float] = []
    over = threading.Event()

    def look() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            ended = False
            while not (seen or ended):
                ended = over.wait(_LOOK)  # One look more when all have ended.
                row = connection.execute("SELECT sum(next) FROM positions").fetchone()
                if row and (row[0] or 0) >= records:
                    seen.append(time.monotonic())

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()
    if not seen:
        raise WrongResult("the consumers ended before all records were committed")


def _print(found: Sequence[Scaled]) -> None:
    table = Table("", box=box.SIMPLE_HEAD, title="CPU seconds per million records, start excluded")
    table.title_justify = "left"
    servers = [each for each in SERVERS if each in found[0].cpu]
    for name in ("records/s", "consumers", *servers, "MiB each"):
        table.add_column(name, justify="right", no_wrap=True)
    for case in dict.fromkeys((each.partitions, each.consumers) for each in found):
        same = [each for each in found if (each.partitions, each.consumers) == case]
        table.add_row(
            "{} p., {} c.".format(*case),
            spread([each.rate for each in same], ",.0f"),
            *(
                spread([each.per_million(name) for each in same], ".1f")
                for name in ("assay", *servers)
            ),
            f"{max(max(each.peaks) for each in same) >> 20}",
        )
    Console(width=80, highlight=False).print(table)


if __name__ == "__main__":
    typer.run(scaling)
