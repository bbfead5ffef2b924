"""How quick a stream is, from a topic over the model API into PostgreSQL, and what it costs."""

import secrets
import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer
from compare import Prepared, Work, compare
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from harness import ASSAY, Bench, Way, alone
from sample import Ids, send

_PLAIN: Final = str(Path(__file__).with_name("plain_stream.py"))
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
    compare(
        Work("Kafka to PostgreSQL", SERVERS, _prepare),
        sizes=[int(each) for each in sizes.split(",")] if sizes else [records],
        ids=ids,
        ways=["assay", "plain"] if against else ["assay"],
        runs=runs,
        as_json=as_json,
        keep=keep,
    )


def make_topic(bench: Bench, partitions: int = PARTITIONS) -> str:
    """A topic of its own; returns its name."""
    name = f"benchmark-{secrets.token_hex(4)}"
    admin: Any = AdminClient({"bootstrap.servers": bench.local.kafka.url})  # partial stubs
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result()
    return name


def _prepare(bench: Bench, records: int, ids: Ids) -> Prepared:
    topic = make_topic(bench)
    sample = alone(send, bench.local.kafka.url, topic, records, ids)

    def command(way: Way, name: str) -> list[str]:
        if way == "plain":
            return [sys.executable, _PLAIN, topic, name, str(records)]
        options = ["--topic", topic, "--group", name, "--until-idle", "0"]
        return [ASSAY, "stream", "consume", *options]

    return Prepared(sample, command)


if __name__ == "__main__":
    typer.run(stream)
