"""What `assay doctor` asks of everything that the settings name."""

# ruff: noqa: PLC0415 - a command waits for the libraries that it uses, and for no others

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from assay.domain.errors import Fatal, Unavailable
from assay_cli.bootstrap.sections import (
    ANSWER,
    CONNECT,
    api_section,
    kafka_section,
    postgres_section,
    s3_section,
    schema_registry_section,
)

if TYPE_CHECKING:
    from sqlalchemy import Engine

LOST_BROKER: Final = "start the brokers that are lost; `assay up kafka` does where they are local"
"""What to do where copies of topics are missing."""

_MAKE_TOPICS: Final = "`assay stream topics` makes them, if you mean to stream"

_NAMED: Final = 5  # buckets, at most
_IMPORTING: Final = Lock()  # who imports what another thread is importing may see half of it


class Answer(NamedTuple):
    """What a probe found out.

    Attributes:
        text: for people.
        doubt: what should be looked at although nothing failed, and what to do; else None.
    """

    text: str
    doubt: str | None = None


def probes(bucket: str | None) -> Mapping[str, list[tuple[str, Callable[[], Answer]]]]:
    """What can be asked about each section that something installed reads, in a sensible order.

    A probe raises `Unavailable` where something is away, within seconds, and other errors of
    Assay where something is misconfigured. Variables that nobody knows hinder none.

    Args:
        bucket: to look at; None: which there are.
    """
    from assay_adapters.environment.sections import installed

    all_there_are: dict[str, list[tuple[str, Callable[[], Answer]]]] = {
        "postgres": [("postgres", _ask_postgres), ("migrations", _ask_tables)],
        "s3": [("s3", lambda: _ask_s3(bucket))],
        "api": [("model", _ask_model)],
        "kafka": [("kafka", _ask_kafka), ("topics", _ask_copies)],
        "schema_registry": [("schemas", _ask_schemas)],
    }
    return {name: asked for name, asked in all_there_are.items() if name in installed()}


@contextmanager
def _hasty_engine() -> "Generator[Engine]":
    from assay_adapters.postgres.connection import engine_for

    hasty = {"connect_timeout": CONNECT, "statement_timeout": ANSWER, "pool_size": 1}
    engine = engine_for(postgres_section(strict=False).model_copy(update=hasty))
    try:
        yield engine
    finally:
        engine.dispose()


def _ask_postgres() -> Answer:
    from sqlalchemy import text

    from assay_adapters.postgres.connection import translated

    with _hasty_engine() as engine, translated(), engine.connect() as connection:
        asked = text("SELECT current_setting('server_version'), current_database(), current_user")
        version, database, role = connection.execute(asked).one()
        return Answer(f"PostgreSQL {version}; database {database}, as {role}")


def _ask_tables() -> Answer:
    from assay_adapters.postgres.rights import require_rights
    from assay_adapters.postgres.version import check

    with _hasty_engine() as engine:
        check(engine)
        require_rights(engine)
    return Answer("the tables serve this version, and may be written to")


def _ask_s3(bucket: str | None) -> Answer:
    from assay_adapters.s3.config import s3_client
    from assay_adapters.s3.errors import translated
    from assay_adapters.s3.objects import S3Objects

    hasty = {"connect_timeout": float(CONNECT), "read_timeout": float(ANSWER)}
    client = s3_client(s3_section(strict=False).model_copy(update=hasty))
    if bucket is not None:
        found = next(iter(S3Objects(client).list(f"s3://{bucket}/")), None)
        return Answer(f"bucket {bucket} can be listed" + ("" if found else "; it is empty"))
    name_one = "name one to check: assay doctor --bucket NAME"
    try:
        with translated("its list of buckets"):
            names = [each.get("Name", "") for each in client.list_buckets().get("Buckets", ())]
    except Fatal as error:
        if "AccessDenied" not in str(error):
            raise
        # Good keys are often for one bucket only.
        return Answer("S3 answers; its buckets may not be listed with these keys", name_one)
    some = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    return Answer(f"S3 answers; its buckets: {some or 'none'}", name_one)


def _ask_model() -> Answer:
    from assay_adapters.http.classifier import HttpClassifier

    hasty = {"connect_timeout": float(CONNECT), "timeout": float(ANSWER)}
    classifier = HttpClassifier(api_section(strict=False).model_copy(update=hasty))
    try:
        name, version = classifier.model()
    finally:
        classifier.close()
    return Answer(f"{name} {version}")


def _ask_kafka() -> Answer:
    with _IMPORTING:
        from assay_adapters.kafka.topics import Topics

    count = Topics(kafka_section(strict=False), timeout=CONNECT).brokers()
    return Answer(f"Kafka answers; {count} {'broker' if count == 1 else 'brokers'}")


def _ask_schemas() -> Answer:
    config = schema_registry_section(strict=False)
    if config.url is None:
        return Answer("no schema registry is named: values are JSON")
    with _IMPORTING:
        from assay_adapters.schema_registry.registry import SchemaRegistry

    registry = SchemaRegistry(config.model_copy(update={"timeout": float(ANSWER)}))
    try:
        count = registry.answers()
    finally:
        registry.close()
    return Answer(f"the schema registry answers; {count} {'subject' if count == 1 else 'subjects'}")


def _ask_copies() -> Answer:
    """How the topics are kept that the streaming services read and write."""
    from assay_adapters.environment.sections import installed
    from assay_adapters.environment.settings import load_section
    from assay_adapters.kafka.topics import Topics

    if (config := installed().get("stream")) is None:
        return Answer("no streaming service is installed")
    stream: Any = load_section("stream", config, strict=False)
    names = (
        stream.topic,
        stream.dead_letter_topic,
        stream.event_topic,
        stream.prediction_topic,
        stream.ledger_topic,
    )
    found = Topics(kafka_section(strict=False), timeout=CONNECT).copies(names)
    if lost := _partitions((each.topic, each.leaderless) for each in found):
        raise Unavailable(f"without a leader, so that nothing comes or goes: {lost}")
    doubts: dict[str, str] = {}  # with what to do
    if held := _partitions((each.topic, each.unwritable) for each in found):
        text = f"fewer copies in sync than min.insync.replicas, so that nothing comes in: {held}"
        doubts[text] = LOST_BROKER
    elif thin := _partitions((each.topic, each.lacking) for each in found):
        doubts[f"fewer copies in sync than there should be: {thin}"] = LOST_BROKER
    if missing := set(names) - {each.topic for each in found}:
        doubts[f"not there: {', '.join(sorted(missing))}"] = _MAKE_TOPICS
    if doubts:
        return Answer("; ".join(doubts), "; ".join(doubts.values()))
    there = ", ".join(f"{each.topic} ({each.partitions})" for each in found)
    return Answer(f"all copies are in sync: {there}")


def _partitions(found: Iterable[tuple[str, Sequence[int]]]) -> str:
    return ", ".join(
        f"{topic} {', '.join(map(str, numbers))}" for topic, numbers in found if numbers
    )
