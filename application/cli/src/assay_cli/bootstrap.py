"""Composes what the commands need: the one place that names adapters."""

# ruff: noqa: PLC0415 - a command waits for the libraries that it uses, and for no others

import platform
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, partial
from getpass import getuser
from importlib.metadata import version
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from assay.domain.errors import AssayError, Fatal, Unavailable, Unreadable
from assay_adapters.console.run import complain, last_line, run
from assay_adapters.console.signals import interrupt, on_signal
from assay_cli.offsets import Bounds, Topic
from assay_cli.services import Named, Reading, named, reading

if TYPE_CHECKING:
    import polars as pl
    from sqlalchemy import Engine

    from assay.domain.books import Report
    from assay.domain.choice import Filter
    from assay.pipeline.redrive import Services
    from assay.pipeline.watch import Watch
    from assay_adapters.environment.settings import Survey
    from assay_adapters.http.config import ApiConfig
    from assay_adapters.kafka.config import KafkaConfig
    from assay_adapters.kafka.reading import WholeRecords
    from assay_adapters.postgres.config import PostgresConfig
    from assay_adapters.postgres.lookup import DeadLetters
    from assay_adapters.s3.config import S3Config

__all__ = ["DeadLetters", "complain", "interrupt", "last_line", "on_signal", "run"]

LOST_BROKER: Final = "start the brokers that are lost; `assay up kafka` does where they are local"
"""What to do where copies of topics are missing."""

_MAKE_TOPICS: Final = "`assay stream topics` makes them, if you mean to stream"

_CONNECT: Final = 3  # seconds that a probe waits for a connection
_ANSWER: Final = 5  # and for an answer
_NAMED: Final = 5  # buckets, at most
_WORKERS: Final = 4  # chunks of a redrive that are worked on at once
_RUNS: Final = 64  # services that are looked for, the latest


class Answer(NamedTuple):
    """What a probe found out.

    Attributes:
        text: for people.
        doubt: what should be looked at although nothing failed, and what to do; else None.
    """

    text: str
    doubt: str | None = None


def settings() -> "Survey":
    """The settings of all packages that are installed, and what is wrong with them."""
    from assay_adapters.environment.sections import installed
    from assay_adapters.environment.settings import survey

    return survey(installed())


def _postgres(*, strict: bool = True) -> "PostgresConfig":
    from assay_adapters.environment.settings import load_section
    from assay_adapters.postgres.config import PostgresConfig

    return load_section("postgres", PostgresConfig, strict=strict)


def _s3(*, strict: bool = True) -> "S3Config":
    from assay_adapters.environment.settings import load_section
    from assay_adapters.s3.config import S3Config

    return load_section("s3", S3Config, strict=strict)


def _api(*, strict: bool = True) -> "ApiConfig":
    from assay_adapters.environment.settings import load_section
    from assay_adapters.http.config import ApiConfig

    return load_section("api", ApiConfig, strict=strict)


def _kafka(*, strict: bool = True) -> "KafkaConfig":
    from assay_adapters.environment.settings import load_section
    from assay_adapters.kafka.config import KafkaConfig

    return load_section("kafka", KafkaConfig, strict=strict)


@contextmanager
def _engine(config: "PostgresConfig | None" = None) -> "Generator[Engine]":
    """PostgreSQL with tables of this version, for as long as the block lasts.

    Args:
        config: other than what the settings say.

    Raises:
        Unavailable: it is away.
        Fatal: the settings are wrong, or `assay migrate` has not been run.
    """
    from assay_adapters.postgres.connection import engine_for
    from assay_adapters.postgres.migrate import check

    engine = engine_for(config or _postgres())
    try:
        check(engine)
        yield engine
    finally:
        engine.dispose()


@contextmanager
def dead_letters() -> "Generator[DeadLetters]":
    """The dead letters, for as long as the block lasts; raises what `_engine` does."""
    from assay_adapters.postgres.lookup import DeadLetters

    with _engine() as engine:
        yield DeadLetters(engine)


def user() -> str:
    """Who is logged in, as the system says."""
    try:
        return getuser()
    except (OSError, KeyError):  # a container may have no name for its user
        return "unknown"


def discard(chosen: "Filter", *, by: str, reason: str) -> int:
    """Discards open letters: see `assay_adapters.postgres.discard`."""
    from assay_adapters.postgres import discard as discarding

    with _engine() as engine:
        return discarding.discard(engine, chosen, by=by, reason=reason)


@contextmanager
def importing(run_id: str, *, by: str) -> "Generator[Callable[[pl.DataFrame, str], int]]":
    """Takes in frames of letters, each with where it comes from, and says how many were new.

    The run is noted in the tables.
    """
    from assay_adapters.postgres.imports import import_letters
    from assay_adapters.postgres.runs import end_run, start_run

    with _engine() as engine:
        start_run(engine, run_id, kind="import", source="import", version=version("assay"))
        imported = 0

        def take(letters: "pl.DataFrame", place: str) -> int:
            nonlocal imported
            new = import_letters(engine, letters, run_id=run_id, by=by, place=place)
            imported += new
            return new

        status = "failed"
        try:
            yield take
            status = "done"
        finally:
            with suppress(AssayError):  # the books are kept elsewhere; this is a note
                end_run(engine, run_id, status=status, summary={"imported": imported})


def letters_on(topic: str) -> "Iterator[tuple[pl.DataFrame, int]]":
    """The letters on a topic: see `assay_adapters.kafka.reading`."""
    from assay_adapters.kafka.reading import letters_on

    return letters_on(_kafka(), topic)


def whole_record(source: str, partition: str, position: int) -> bytes | None:
    """The bytes of a record of a topic: see `assay_adapters.kafka.reading.WholeRecords`.

    Raises:
        Unavailable: Kafka is away.
        Fatal: the settings of Kafka are wrong or missing, or the topic may not be read.
    """
    if not source.startswith("kafka/"):
        return None
    return _whole_records()(source, partition, position)


@cache
def _whole_records() -> "WholeRecords":
    from assay_adapters.kafka.reading import WholeRecords

    return WholeRecords(_kafka())


@dataclass(frozen=True)
class Redriving:
    """What a redrive needs.

    Attributes:
        services: what it is composed of.
        letters: for those who want to know what is there.
        watch: makes what it is watched by.
        start: notes in the tables that the run has begun.
        end: notes how it has ended.
    """

    services: "Services"
    letters: "DeadLetters"
    watch: "Callable[..., Watch]"
    start: Callable[[], None]
    end: Callable[[str, Mapping[str, Any]], None]


@contextmanager
def redriving(run_id: str, *, by: str, edits: Mapping[str, str]) -> Generator[Redriving]:
    """All that a redrive is composed of, closed at the end of the block."""
    from assay.pipeline.redrive import Services
    from assay.pipeline.watch import Watch
    from assay_adapters.clock.system import SystemClock
    from assay_adapters.http.classifier import HttpClassifier
    from assay_adapters.postgres.lookup import DeadLetters
    from assay_adapters.postgres.runs import end_run, start_run
    from assay_adapters.postgres.selection import PostgresSelection
    from assay_adapters.postgres.store import PostgresStore
    from assay_adapters.prometheus.meter import PrometheusMeter

    api = _api()
    with ExitStack() as stack:
        engine = stack.enter_context(_engine())
        classifier = HttpClassifier(api)
        stack.callback(classifier.close)
        executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="worker")
        # What is still under way when a run fails is not waited for before it begins.
        stack.callback(executor.shutdown, wait=True, cancel_futures=True)
        clock = SystemClock()
        yield Redriving(
            services=Services(
                selection=PostgresSelection(engine, run_id, by=by, edits=edits),
                store=PostgresStore(engine, processing_type="redrive"),
                classifier=classifier,
                executor=executor,
                clock=clock,
            ),
            letters=DeadLetters(engine),
            watch=partial(Watch, PrometheusMeter(), clock, "redrive"),
            start=lambda: start_run(
                engine, run_id, kind="redrive", source="redrive", version=version("assay")
            ),
            end=lambda status, summary: end_run(engine, run_id, status=status, summary=summary),
        )


@dataclass(frozen=True)
class Sources:
    """Where `assay top` looks.

    Attributes:
        named: the services that should be running; raises `Unavailable` while PostgreSQL is away.
        ask: one at its address what it says of itself; raises `Unavailable` if it does not answer.
        letters: how many there are, by state and more; None where no PostgreSQL is named.
        now: what the clock says.
    """

    named: Callable[[], Sequence[Named]]
    ask: Callable[[str], Reading]
    letters: Callable[[], Iterable[Mapping[str, Any]]] | None
    now: Callable[[], datetime]


@contextmanager
def watching(urls: Sequence[str]) -> Generator[Sources]:
    """What can be seen of running services, for as long as the block lasts.

    Args:
        urls: the services' addresses; without any, PostgreSQL knows them.

    Raises:
        Unavailable: PostgreSQL is away, and no addresses are given.
        Fatal: settings or tables are wrong, or an address is none.
    """
    from assay_adapters.environment.settings import is_named
    from assay_adapters.postgres.lookup import DeadLetters
    from assay_adapters.postgres.runs import serving
    from assay_adapters.prometheus.samples import samples
    from assay_adapters.status.client import StatusClient

    given = [Named(each.rstrip("/")) for each in urls]
    if wrong := [each.url for each in given if not each.url.startswith(("http://", "https://"))]:
        raise Fatal(f"{wrong[0]} is no address of a service: one is http://host:port")
    here = platform.node()
    with ExitStack() as stack:
        client = StatusClient()
        stack.callback(client.close)
        engine: Engine | None = None
        # Where addresses are given, the letters are all that PostgreSQL is asked for.
        with suppress(Unavailable) if given else nullcontext():
            if not given or is_named("postgres"):
                hasty = {"connect_timeout": _CONNECT, "statement_timeout": _ANSWER, "pool_size": 2}
                config = _postgres().model_copy(update=hasty)
                engine = stack.enter_context(_engine(config))

        def ask(url: str) -> Reading:
            told = client.ask(url)
            at = monotonic()
            try:
                return reading(at, samples(told.metrics), told.facts, is_ready=told.is_ready)
            except ValueError:
                raise Unavailable(f"{url} is no service of Assay") from None

        def noted() -> Sequence[Named]:
            if engine is None or given:
                return given
            rows = serving(engine, _RUNS)
            return [each for row in rows if (each := named(row, here)) is not None]

        yield Sources(
            named=noted,
            ask=ask,
            letters=partial(DeadLetters(engine).counts, {}) if engine is not None else None,
            now=lambda: datetime.now(UTC),
        )


def migrate() -> list[str]:
    """Brings the tables to this version: see `assay_adapters.postgres.migrate`."""
    from assay_adapters.postgres import migrate as migrations

    return migrations.migrate(_postgres())


def reconcile() -> "Report":
    """Proves the books: see `assay_adapters.postgres.reconcile`."""
    from assay_adapters.postgres import reconcile as books

    with _engine() as engine:
        return books.reconcile(engine)


def topics() -> Callable[[str], Topic | None] | None:
    """What the brokers say of a topic by its name; None where no settings name any broker.

    What is returned raises `Unavailable` while Kafka is away.

    Raises:
        Fatal: the settings are wrong.
    """
    from assay_adapters.environment.settings import is_named, load_section
    from assay_adapters.kafka.config import KafkaConfig
    from assay_adapters.kafka.topics import Topics

    if not is_named("kafka"):
        return None
    topics = Topics(load_section("kafka", KafkaConfig))

    def ask(name: str) -> Topic | None:
        if (found := topics.find(name)) is None:
            return None
        return Topic(found.id, {each: Bounds(*at) for each, at in topics.bounds(found).items()})

    return ask


def blocks(uri: str) -> Iterator[bytes]:
    """The content of a file here or in S3 from its beginning, unpacked by its name's suffix.

    Raises:
        Unavailable: S3 is away.
        Unreadable: there is no such file, it may not be read, or it is damaged.
        Fatal: the settings or rights of S3 are wrong.
    """
    from assay_adapters.compression.decompress import decompress

    return decompress(uri, _s3_blocks(uri) if uri.startswith("s3://") else _file_blocks(uri))


def lines_of(files: Iterable[str], standard: IO[bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Each of these files with its content, unpacked by its name's suffix.

    Args:
        files: paths, objects in S3 or what their names begin with, up to a `/`; `-` stands for
        standard: which is read to its end.

    Raises:
        Unavailable: S3 is away.
        Unreadable: a file does not exist, may not be read, or is damaged.
        Fatal: the settings or rights of S3 are wrong.
    """
    from assay_adapters.compression.decompress import decompress

    for uri in files:
        if uri == "-":
            yield "standard input", iter(partial(standard.read, 1 << 20), b"")
        elif uri.startswith("s3://") and uri.endswith("/"):
            from assay_adapters.s3.config import s3_client
            from assay_adapters.s3.objects import S3Objects

            objects = S3Objects(s3_client(_s3()))
            for item in objects.list(uri):
                yield item.uri, decompress(item.uri, objects.read(item))
        else:
            yield uri, blocks(uri)


def _s3_blocks(uri: str) -> Iterator[bytes]:
    from assay_adapters.s3.config import s3_client
    from assay_adapters.s3.objects import S3Objects

    objects = S3Objects(s3_client(_s3()))
    item = next(iter(objects.list(uri)), None)
    if item is None:
        raise Unreadable(f"{uri} does not exist")
    yield from objects.read(item)


def _file_blocks(uri: str) -> Iterator[bytes]:
    from assay_adapters.files.location import path_of

    # Not through LocalObjects, which reads a file to its end for its version.
    try:
        path = path_of(uri)
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise Unreadable(f"{uri} is no file")  # A pipe might never say anything.
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                yield block
    except OSError as error:
        raise Unreadable(f"{uri} cannot be read: {error.strerror}") from None


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
    }
    return {name: asked for name, asked in all_there_are.items() if name in installed()}


@contextmanager
def _hasty_engine() -> "Generator[Engine]":
    from assay_adapters.postgres.connection import engine_for

    hasty = {"connect_timeout": _CONNECT, "statement_timeout": _ANSWER, "pool_size": 1}
    engine = engine_for(_postgres(strict=False).model_copy(update=hasty))
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
    from assay_adapters.postgres.migrate import check
    from assay_adapters.postgres.rights import require_rights

    with _hasty_engine() as engine:
        check(engine)
        require_rights(engine)
    return Answer("the tables are of this version, and may be written to")


def _ask_s3(bucket: str | None) -> Answer:
    from assay_adapters.s3.config import s3_client
    from assay_adapters.s3.errors import translated
    from assay_adapters.s3.objects import S3Objects

    hasty = {"connect_timeout": float(_CONNECT), "read_timeout": float(_ANSWER)}
    client = s3_client(_s3(strict=False).model_copy(update=hasty))
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

    hasty = {"connect_timeout": float(_CONNECT), "timeout": float(_ANSWER)}
    classifier = HttpClassifier(_api(strict=False).model_copy(update=hasty))
    try:
        name, version = classifier.model()
    finally:
        classifier.close()
    return Answer(f"{name} {version}")


def _ask_kafka() -> Answer:
    from assay_adapters.kafka.topics import Topics

    count = Topics(_kafka(strict=False), timeout=_CONNECT).brokers()
    return Answer(f"Kafka answers; {count} {'broker' if count == 1 else 'brokers'}")


def _ask_copies() -> Answer:
    """How the topics are kept that the streaming services read and write."""
    from assay_adapters.environment.sections import installed
    from assay_adapters.environment.settings import load_section
    from assay_adapters.kafka.topics import Topics

    if (config := installed().get("stream")) is None:
        return Answer("no streaming service is installed")
    stream: Any = load_section("stream", config, strict=False)
    names = (stream.topic, stream.dead_letter_topic, stream.event_topic)
    found = Topics(_kafka(strict=False), timeout=_CONNECT).copies(names)
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
