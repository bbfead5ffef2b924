"""How quick a stream is, from a topic over the model API into PostgreSQL, and what it costs."""

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import psycopg
import typer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from figures import Figure, about, print_runs, print_sizes
from harness import Bench, Way, WrongResult, check, console, started
from measure import CommandFailed, run
from rich.console import Console
from sample import Ids, Sample, send

from assay_local import LocalError, databases

_HERE: Final = Path(__file__).parent
_ASSAY: Final = str(Path(sys.executable).with_name("assay"))
SERVERS: Final = ("postgres", "kafka", "api")
PARTITIONS: Final = 3


def stream(
    *,
    records: Annotated[int, typer.Option(min=1_000, help="Messages on the topic.")] = 1_000_000,
    sizes: Annotated[
        str, typer.Option(help="Several such numbers, with commas: is peak memory the same?")
    ] = "",
    runs: Annotated[int, typer.Option(min=1, help="Runs of each way, in turns.")] = 3,
    against: Annotated[
        Literal["plain"] | None,
        typer.Option(
            help="Do the same work in a plain loop as well: confluent-kafka, pydantic, httpx,"
            " SQLAlchemy."
        ),
    ] = None,
    ids: Annotated[Ids, typer.Option(help="How the ids follow each other.")] = "scattered",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep databases and logs, and say where.")
    ] = False,
) -> None:
    """Measure one `assay stream consume`, from a full topic to committed rows.

    Servers of its own, each run on a fresh database; the topic has three partitions and is filled
    before. The process' start, joining the group and its end count. The model API is restarted
    before each run, so that it remembers nothing; PostgreSQL syncs to disk as it does by default.
    A figure counts once the tables were found to hold what they must.
    """
    numbers = [int(each) for each in sizes.split(",")] if sizes else [records]
    ways: list[Way] = ["assay", "plain"] if against else ["assay"]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends all that was started, too
    try:
        with started(*SERVERS, keep=keep) as bench:
            found = [each for size in numbers for each in _measured(bench, size, ids, ways, runs)]
            settings = about(bench.local, ids)
    except (CommandFailed, LocalError, WrongResult) as error:
        console.print(f"[bold red]error:[/] {error}")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        console.print("interrupted; the servers are stopped")
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps({"about": settings, "runs": [asdict(each) for each in found]}))
        return
    for size in numbers:
        print_runs([each for each in found if each.rows == size], "Kafka to PostgreSQL")
    if len(numbers) > 1:
        print_sizes([each for each in found if each.way == "assay"])
    Console(width=80, highlight=False).print_json(data=settings)


def make_topic(bench: Bench, partitions: int = PARTITIONS) -> str:
    """A topic of its own; returns its name."""
    name = f"benchmark-{secrets.token_hex(4)}"
    admin: Any = AdminClient({"bootstrap.servers": bench.local.kafka.url})  # partial stubs
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result()
    return name


def _measured(
    bench: Bench, records: int, ids: Ids, ways: Sequence[Way], runs: int
) -> Generator[Figure]:
    """The figures of one size, the ways taking turns."""
    topic = make_topic(bench)
    with (
        console.status(f"Filling a topic with {records:,} messages …"),
        # In a process of its own: what is measured starts with the memory of this one.
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
    ):
        sample = pool.submit(send, bench.local.kafka.url, topic, records, ids).result()
    agreed: int | None = None
    for number in range(runs):
        for way in ways:
            with console.status(f"{way}, {records:,} records, run {number + 1} of {runs} …"):
                figure, predicted = _once(bench, way, sample, topic, f"{way}_{records}_{number}")
            if agreed not in {None, predicted}:
                raise WrongResult(f"{way} stored other predictions than the run before")
            agreed = predicted
            console.print(f"{way}: {figure.rate:,.0f} records/s, {figure.peak >> 20} MiB")
            yield figure


def _once(bench: Bench, way: Way, sample: Sample, topic: str, name: str) -> tuple[Figure, int]:
    local = bench.local
    url = databases.create(local.postgres.url, name)
    environment = {**os.environ, **local.settings, "ASSAY_POSTGRES__URL": url}
    # Modules are compiled once and for all, as they are where a package is installed.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    commands: Mapping[Way, Callable[[], list[str]]] = {
        "assay": lambda: [
            *(_ASSAY, "stream", "consume", "--topic", topic, "--group", name),
            *("--until-idle", "0"),
        ],
        "plain": lambda: [
            *(sys.executable, str(_HERE / "plain_stream.py"), topic, name, str(sample.rows)),
        ],
    }
    if way == "assay":
        run([_ASSAY, "migrate"], environment, {})
    local.api.restart()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    load = os.getloadavg()[0]
    spent = run(commands[way](), environment, bench.processes)
    predicted = check(url, way, sample)
    if not bench.keep:
        databases.drop(local.postgres.url, name)
    return Figure(
        way=way,
        rows=sample.rows,
        seconds=spent.seconds,
        inner_seconds=json.loads(spent.output)["seconds"],
        cpu={way: spent.cpu, **spent.servers},
        others=spent.others,
        load=load,
        peak=spent.peak,
    ), predicted


if __name__ == "__main__":
    typer.run(stream)
