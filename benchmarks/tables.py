"""What a million records cost by how many rows the tables hold already, and how they are cut."""

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from statistics import median
from typing import Annotated, Any, Final

import layouts
import psycopg
import typer
from compare import environ, make_tables
from contenders import ASSAY
from figures import about, spread
from found import Filled, Part
from harness import Api, Bench, Rejects, alone, check, console, ended_in_words, numbers, started
from measure import run
from rich import box
from rich.console import Console
from rich.status import Status
from rich.table import Table
from sample import Ids, Sample, send
from stream import SERVERS, make_topic
from written import OUT, merge

from assay_local import LocalError, databases

_IDS: Final[Ids] = "scattered"
_DAYS: Final = 30  # what comes is of the latest month
_ROW: Final = 410  # bytes of disk, with both keys
_BESIDE: Final = 4_000_000_000  # the log, and files for sorting


def tables(
    *,
    present: Annotated[
        str, typer.Option(help="Rows that the tables hold before, with commas.")
    ] = "0,10000000,50000000",
    layout: Annotated[
        str, typer.Option(help="How they are cut, with commas: plain, hash, month.")
    ] = ",".join(layouts.LAYOUTS),
    records: Annotated[int, typer.Option(min=1_000, help="Records that come.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1, help="Of each size and layout.")] = 3,
    api: Annotated[Api, typer.Option(help="Which API is asked: a stub, or the model's.")] = "stub",
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure a stream into tables that hold rows already, whole or cut into partitions.

    Servers of its own, one consumer. Rows that are there are made by PostgreSQL itself, as copies
    under other ids of what a run into empty tables has stored; what a run adds is removed after it.
    One layout after another; a figure counts once the rows that came were found to be what they
    must.

    Needs 4 GB of disk and 0.4 more for each million rows: 8 GB with 10 million, less than 25 GB
    with 50 million. Some 40 minutes with the defaults, most of it for copying and keys.
    """
    asked = sorted({0, *numbers(present, least=0)})
    with ended_in_words():
        ways = [each.strip() for each in layout.split(",") if each.strip()]
        if unknown := [each for each in ways if each not in layouts.LAYOUTS]:
            raise LocalError(f"there is no {unknown[0]}; there are {', '.join(layouts.LAYOUTS)}")
        with started(*SERVERS, keep=False) as bench:
            enough_disk(bench, asked[-1])
            found = measured_tables(bench, asked, ways, records=records, runs=runs, api=api)
            settings = about(bench.local, _IDS, api=api, records=records)
    if as_json:
        print(json.dumps({"about": settings, "runs": [asdict(each) for each in found]}))
    else:
        _print(found)
    merge(out, tables=Part(settings, found))


def enough_disk(bench: Bench, rows: int) -> None:
    """That so many rows fit.

    Raises:
        LocalError: they do not.
    """
    needed, free = rows * _ROW + _BESIDE, shutil.disk_usage(bench.folder).free
    if free < needed:
        raise LocalError(
            f"{rows:,} rows need {needed / 1e9:.0f} GB in {bench.folder.parent}, which has"
            f" {free / 1e9:.0f}; TMPDIR names another folder"
        )


def measured_tables(
    bench: Bench,
    present: Sequence[int],
    ways: Sequence[str],
    *,
    records: int,
    runs: int,
    api: Api,
) -> list[Filled]:
    """The figures of all layouts, of each from the smallest size to the largest.

    Args:
        bench: with the servers of `SERVERS`.
        present: rows, in order; the first is 0, of which copies are made.
        ways: the layouts.
        records: that come.
        runs: of each.
        api: which API is asked.

    Raises:
        WrongResult: the tables do not hold what was sent.
        CommandFailed: a consumer did not end as it should.
    """
    with console.status(f"Preparing {records:,} records …"):
        topic = make_topic(bench)
        sample = alone(send, bench.local.kafka.url, topic, records, _IDS, _DAYS)
    found: list[Filled] = []
    for layout in ways:
        name = f"{topic}-{layout}"
        url = databases.create(bench.local.postgres.url, name)
        try:
            place = _Place(bench, url, topic, sample, layout, api)
            found += _layout(place, present, runs)
        finally:
            databases.drop(bench.local.postgres.url, name)
    return found


@dataclass(frozen=True)
class _Place:
    """Where to run, and what.

    Attributes:
        bench: the servers.
        url: of the database.
        topic: to read.
        sample: what is on it.
        layout: of the tables.
        api: which API is asked.
    """

    bench: Bench
    url: str
    topic: str
    sample: Sample
    layout: str
    api: Api


def _layout(place: _Place, present: Sequence[int], runs: int) -> list[Filled]:
    make_tables("assay", place.url, environ(place.bench, place.url, {}))
    found: list[Filled] = []
    with psycopg.connect(place.url, autocommit=True) as connection:
        keys = layouts.cut(connection, place.layout)
        copied = 0
        for rows in present:
            copies = _copies(place, rows)
            if copies > copied:
                with console.status(f"{place.layout}: making {rows:,} rows …") as status:
                    _fill(place, connection, keys, range(copied + 1, copies + 1), status)
                copied = copies
            for number in range(runs):
                with console.status(
                    f"{place.layout}, {rows:,} rows before, run {number + 1} of {runs} …"
                ):
                    since = layouts.highest_entry(connection)
                    found.append(_once(place, connection, rows, since))
                    if not rows and not number:
                        layouts.seed(connection)
                    layouts.remove(connection, since, rows)
                console.print(
                    f"{place.layout}, {rows:,} rows before: {found[-1].rate:,.0f} records/s"
                )
    return found


def _copies(place: _Place, rows: int) -> int:
    return ceil(rows / place.sample.rows)


def _fill(
    place: _Place,
    connection: psycopg.Connection[Any],
    keys: dict[str, list[layouts.Key]],
    copies: range,
    status: Status,
) -> None:
    """Adds these copies to what the tables hold."""
    # One table after the other: what sorting a key takes of the disk is less with the smaller last.
    for table in layouts.TABLES:
        layouts.drop_keys(connection, table, keys[table])
        for copy in copies:
            status.update(f"{place.layout}: {table}, copy {copy} of {copies.stop - 1} …")
            layouts.multiply(connection, table, copy, place.sample.rows)
        status.update(f"{place.layout}: keys of {table} …")
        layouts.make_keys(connection, table, keys[table])


def _once(place: _Place, connection: psycopg.Connection[Any], present: int, since: int) -> Filled:
    environment = environ(place.bench, place.url, place.bench.fresh_api(place.api))
    servers = place.bench.processes(SERVERS, place.api)
    group = f"{place.topic}-{place.layout}-{since}"  # no run is to know of another one
    options = ["--topic", place.topic, "--group", group, "--until-idle", "0"]
    connection.execute("CHECKPOINT")
    logged, load = layouts.logged(connection), os.getloadavg()[0]
    spent = run([ASSAY, "stream", "consume", *options], environment, servers)
    wal = layouts.logged(connection) - logged
    heap, indexes = layouts.sizes(connection)
    check(place.url, "assay", place.sample, Rejects(table="dead_letters"), since)
    good = place.sample.rows - place.sample.broken
    return Filled(
        layout=place.layout,
        present=present,
        rows=place.sample.rows,
        seconds=spent.seconds,
        cpu={"assay": spent.cpu, **spent.servers},
        wal=wal,
        heap=heap,
        indexes=indexes,
        stored=good * (_copies(place, present) + 1),
        others=spent.others,
        load=load,
    )


def _print(found: Sequence[Filled]) -> None:
    table = Table("tables", box=box.SIMPLE_HEAD, title="By rows of each table before")
    table.title_justify = "left"
    for name in ("before", "records/s", "CPU s of 1 M", "log", "heap", "index B/row"):
        table.add_column(name, justify="right", no_wrap=True)
    for layout, present in dict.fromkeys((each.layout, each.present) for each in found):
        same = [each for each in found if (each.layout, each.present) == (layout, present)]
        table.add_row(
            layout,
            f"{present:,}",
            spread([each.rate for each in same], ",.0f"),
            spread([each.per_million("postgres") for each in same], ".1f"),
            f"{median(each.wal / each.rows for each in same):,.0f}",
            f"{median(each.heap / each.stored for each in same):,.0f}",
            f"{median(each.indexes / each.stored for each in same):,.0f}",
        )
    Console(width=80, highlight=False).print(table)


if __name__ == "__main__":
    typer.run(tables)
