"""Runs the ways of doing the same work in turns, and prints what each has cost."""

import json
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import psycopg
from figures import Figure, about, print_runs, print_sizes
from harness import ASSAY, Bench, Way, WrongResult, check, console, ended_in_words, started
from measure import run
from rich.console import Console
from sample import Ids, Sample

from assay_local import databases


class Prepared(NamedTuple):
    """A sample where it is to be read, and the command for each way of doing so.

    A command is made for a run's name, which is given once.
    """

    sample: Sample
    command: Callable[[Way, str], list[str]]


@dataclass(frozen=True)
class Work:
    """What is measured.

    Attributes:
        route: from where to where.
        servers: that it needs.
        prepare: makes a sample of so many records.
    """

    route: str
    servers: Sequence[str]
    prepare: Callable[[Bench, int, Ids], Prepared]


def compare(
    work: Work,
    *,
    sizes: Sequence[int],
    ids: Ids,
    ways: Sequence[Way],
    runs: int,
    as_json: bool,
    keep: bool,
) -> None:
    """Measures each size, the ways taking turns, and prints the figures."""
    with ended_in_words(), started(*work.servers, keep=keep) as bench:
        found: list[Figure] = []
        for size in sizes:
            with console.status(f"Preparing {size:,} records …"):
                prepared = work.prepare(bench, size, ids)
            found += _measured(bench, prepared, ways, runs)
        settings = about(bench.local, ids)
    if as_json:
        print(json.dumps({"about": settings, "runs": [asdict(each) for each in found]}))
        return
    for size in sizes:
        print_runs([each for each in found if each.rows == size], work.route)
    if len(sizes) > 1:
        print_sizes([each for each in found if each.way == "assay"])
    Console(width=80, highlight=False).print_json(data=settings)


def _measured(
    bench: Bench, prepared: Prepared, ways: Sequence[Way], runs: int
) -> Generator[Figure]:
    size = prepared.sample.rows
    agreed: int | None = None
    for number in range(runs):
        for way in ways:
            with console.status(f"{way}, {size:,} records, run {number + 1} of {runs} …"):
                figure, predicted = _once(bench, way, prepared, f"{way}_{size}_{number}")
            if agreed not in {None, predicted}:
                raise WrongResult(f"{way} stored other predictions than the run before")
            agreed = predicted
            console.print(f"{way}: {figure.rate:,.0f} records/s, {figure.peak >> 20} MiB")
            yield figure


def _once(bench: Bench, way: Way, prepared: Prepared, name: str) -> tuple[Figure, int]:
    local = bench.local
    url = databases.create(local.postgres.url, name)
    environment = {**os.environ, **local.settings, "ASSAY_POSTGRES__URL": url}
    # Modules are compiled once and for all, as they are where a package is installed.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    if way == "assay":
        run([ASSAY, "migrate"], environment, {})
    local.api.restart()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    load = os.getloadavg()[0]
    spent = run(prepared.command(way, name), environment, bench.processes)
    predicted = check(url, way, prepared.sample)
    if not bench.keep:
        databases.drop(local.postgres.url, name)
    return Figure(
        way=way,
        rows=prepared.sample.rows,
        seconds=spent.seconds,
        inner_seconds=json.loads(spent.output)["seconds"],
        cpu={way: spent.cpu, **spent.servers},
        others=spent.others,
        load=load,
        peak=spent.peak,
    ), predicted
