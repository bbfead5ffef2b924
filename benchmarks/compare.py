"""Has contenders do the same work in turns, and prints what each has cost."""

import json
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import psycopg
from contenders import ASSAY, Job, Ready, chosen, ready, surroundings
from figures import Figure, about, print_runs, print_sizes
from found import Part
from harness import Api, Bench, Rejects, WrongResult, check, console, ended_in_words, started
from measure import run
from plain import metadata
from rich.console import Console
from sample import Ids, Sample
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url
from written import merge

from assay_local import databases


class Prepared(NamedTuple):
    """A sample where it is to be read, and how each contender is told to.

    A command is made for a run's name, which is given once; so is the place of its rejects.
    `half` prepares another sample, once, for those who do but half of the work.
    """

    sample: Sample
    command: Callable[[Ready, str], list[str]]
    rejects: Callable[[str], Rejects]
    half: "Callable[[], Prepared] | None" = None

    def of(self, way: Ready) -> "Prepared":
        """What this contender reads."""
        return self.half() if way.contender.half and self.half else self


@dataclass(frozen=True)
class Work:
    """What is measured.

    Attributes:
        job: what there is to do.
        route: from where to where.
        servers: that it needs.
        prepare: makes a sample of so many records.
    """

    job: Job
    route: str
    servers: Sequence[str]
    prepare: Callable[[Bench, int, Ids], Prepared]


def compare(
    work: Work,
    *,
    sizes: Sequence[int],
    ids: Ids,
    against: str,
    api: Api,
    runs: int,
    as_json: bool,
    keep: bool,
    out: Path | None = None,
) -> None:
    """Measures each size, the contenders taking turns, and prints the figures.

    With a folder `out`, those of the product are the document's chapter of memory.
    """
    with ended_in_words():
        ways = [ready(each) for each in chosen(against) if each.does(work.job)]
        with started(*work.servers, keep=keep) as bench:
            found: list[Figure] = []
            for size in sizes:
                with console.status(f"Preparing {size:,} records …"):
                    prepared = work.prepare(bench, size, ids)
                found += measured(bench, work, prepared, ways, runs=runs, api=api)
            settings = about(bench.local, ids, api=api)
    merge(out, memory=Part(settings, [each for each in found if each.way == "assay"]))
    if as_json:
        print(json.dumps({"about": settings, "runs": [asdict(each) for each in found]}))
        return
    for size in sizes:
        print_runs([each for each in found if each.rows == size], f"{work.route}, {api} API")
    if len(sizes) > 1:
        print_sizes([each for each in found if each.way == "assay"])
    Console(width=80, highlight=False).print_json(data=settings)


def measured(
    bench: Bench, work: Work, prepared: Prepared, ways: Sequence[Ready], *, runs: int, api: Api
) -> Generator[Figure]:
    """A figure of each run, the contenders taking turns.

    Raises:
        WrongResult: a contender did not do the work, or stored other predictions than another.
        CommandFailed: one did not end as it should.
    """
    size = prepared.sample.rows
    agreed: int | None = None
    for number in range(runs):
        for way in ways:
            who = way.contender.name
            with console.status(f"{who}, {size:,} records, run {number + 1} of {runs} …"):
                name = f"{who}_{work.job}_{api}_{size}_{number}"
                figure, predicted = _once(bench, work, way, prepared.of(way), name=name, api=api)
            if not way.contender.half:
                if agreed not in {None, predicted}:
                    raise WrongResult(f"{who} stored other predictions than the run before")
                agreed = predicted
            console.print(f"{who}: {figure.rate:,.0f} records/s, {figure.peak >> 20} MiB")
            yield figure


def _once(
    bench: Bench, work: Work, way: Ready, prepared: Prepared, *, name: str, api: Api
) -> tuple[Figure, int]:
    who = way.contender
    place = Place(bench, work.job, work.servers, api, bench.fresh_api(api))
    command, rejects = prepared.command(way, name), prepared.rejects(name)
    return once(place, who.name, command, prepared.sample, rejects, name=name, half=who.half)


class Place(NamedTuple):
    """Where a contender runs: the servers that its job needs, and how the API is reached."""

    bench: Bench
    job: Job
    servers: Sequence[str]
    api: Api
    reached: dict[str, str]


def once(
    place: Place,
    who: str,
    command: Sequence[str],
    sample: Sample,
    rejects: Rejects,
    *,
    name: str,
    half: bool = False,
) -> tuple[Figure, int]:
    """One run on a fresh database, which counts once the tables hold what they must.

    Returns:
        What it has cost, and the sum over all predictions.

    Raises:
        WrongResult: they do not.
        CommandFailed: it did not end as it should.
    """
    bench = place.bench
    url = databases.create(bench.local.postgres.url, name)
    environment = environ(bench, url, place.reached)
    make_tables(who, url, environment)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    load = os.getloadavg()[0]
    spent = run(command, environment, bench.processes(place.servers, place.api))
    if who == "assay":
        rejects = Rejects(table="dead_letters")
    predicted = check(url, who, sample, rejects, half=half)
    if not bench.keep:
        databases.drop(bench.local.postgres.url, name)
    return Figure(
        job=place.job,
        api=place.api,
        way=who,
        rows=sample.rows + sample.again,
        seconds=spent.seconds,
        inner_seconds=json.loads(spent.output)["seconds"],
        cpu={who: spent.cpu, **spent.servers},
        others=spent.others,
        load=load,
        peak=spent.peak,
    ), predicted


def environ(bench: Bench, url: str, api: dict[str, str]) -> dict[str, str]:
    """What a contender's process finds in its environment."""
    settings = {**bench.local.settings, **api, "ASSAY_POSTGRES__URL": url}
    found = {**os.environ, **surroundings(), **settings}
    # Modules are compiled once and for all, as they are where a package is installed.
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found


def make_tables(who: str, url: str, environment: dict[str, str]) -> None:
    """The tables that a contender writes, empty."""
    if who == "assay":
        run([ASSAY, "migrate"], environment, {})
        return
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    metadata.create_all(engine)
    engine.dispose()
