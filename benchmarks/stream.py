"""How quick a stream is, from a topic over the model API into PostgreSQL, and what it costs."""

import secrets
from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from compare import Place, Prepared, Work, compare, once
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from contenders import ASSAY, Ready
from figures import Figure
from harness import Api, Bench, Rejects, alone, numbers
from sample import ALL_FAULTS, LEAST, UNREADABLE, Ids, Sample, send
from written import OUT

SERVERS: Final = ("postgres", "kafka", "api")
PARTITIONS: Final = 3


def stream(
    *,
    records: Annotated[int, typer.Option(min=LEAST, help="Messages on the topic.")] = 1_000_000,
    sizes: Annotated[
        str, typer.Option(help="Several such numbers, with commas: is peak memory the same?")
    ] = "",
    runs: Annotated[int, typer.Option(min=1, help="Runs of each way, in turns.")] = 3,
    against: Annotated[
        str,
        typer.Option(
            help="Who does the same work as well, with commas:"
            " plain, quix, fast, fast3, benthos, spark, connect."
        ),
    ] = "",
    api: Annotated[Api, typer.Option(help="Which API is asked: a stub, or the model's.")] = "model",
    ids: Annotated[Ids, typer.Option(help="How the ids follow each other.")] = "scattered",
    out: Annotated[Path | None, OUT] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep databases and logs, and say where.")
    ] = False,
) -> None:
    """Measure one `assay stream consume`, from a full topic to committed rows.

    Servers of its own, each run on a fresh database; the topic has three partitions and is filled
    before. The process' start, joining the group and its end count. The model API is restarted
    before each run, so that it remembers nothing; PostgreSQL syncs to disk as it does by default.
    A figure counts once the tables were found to hold what they must. With --out, the figures of
    the product are the document's chapter of memory: `--sizes 1000000,20000000 --api stub`.
    """
    compare(
        STREAM,
        sizes=numbers(sizes, LEAST) if sizes else [records],
        ids=ids,
        against=against,
        api=api,
        runs=runs,
        as_json=as_json,
        keep=keep,
        out=out,
    )


def make_topic(bench: Bench, partitions: int = PARTITIONS, end: str = "") -> str:
    """A topic of its own; returns its name, which has this end."""
    name = f"benchmark-{secrets.token_hex(4)}{end}"
    admin: Any = AdminClient(
        {"bootstrap.servers": bench.local.kafka.url, "log_level": 3}
    )  # partial stubs
    admin.create_topics([NewTopic(name, partitions, 1)])[name].result()
    return name


def _prepare(bench: Bench, records: int, ids: Ids) -> Prepared:
    half = cache(lambda: _filled(bench, records, ids, UNREADABLE))
    return _filled(bench, records, ids, ALL_FAULTS)._replace(half=half)


def sent(bench: Bench, records: int, ids: Ids = "scattered", **how: Any) -> tuple[str, Sample]:
    """A topic of its own with a sample; returns its name, and what is on it.

    Args:
        bench: with the servers of `SERVERS`.
        records: on it.
        ids: how they follow each other.
        how: further arguments of `sample.send`.
    """
    topic = make_topic(bench)
    return topic, alone(partial(send, **how), bench.local.kafka.url, topic, records, ids)


def consumed(
    bench: Bench, topic: str, sample: Sample, name: str, *, api: Api, reached: dict[str, str]
) -> Figure:
    """What one consumer of the product costs that reads such a topic.

    Raises:
        WrongResult: the tables do not hold what was sent.
        CommandFailed: it did not end as it should.
    """
    place = Place(bench, "stream", SERVERS, api, reached)
    return once(place, "assay", _command(topic, name), sample, Rejects(), name=name)[0]


def _command(topic: str, group: str) -> list[str]:
    return [ASSAY, "stream", "consume", "--topic", topic, "--group", group, "--until-idle", "0"]


def _filled(bench: Bench, records: int, ids: Ids, faults: Sequence[int]) -> Prepared:
    """A topic with a sample, of which some are broken in these ways."""
    topic, sample = sent(bench, records, ids, faults=faults)
    letters: dict[str, str] = {}

    def command(way: Ready, name: str) -> list[str]:
        if way.contender.name != "assay":
            letters[name] = make_topic(bench, end="-letters")
            return way.command("stream", topic, name, str(records), letters[name])
        return _command(topic, name)

    def rejects(name: str) -> Rejects:
        return Rejects(topic=letters.get(name), servers=bench.local.kafka.url)

    return Prepared(sample, command, rejects)


STREAM: Final = Work("stream", "Kafka to PostgreSQL", SERVERS, _prepare)


if __name__ == "__main__":
    typer.run(stream)
