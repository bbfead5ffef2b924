"""Composes what the commands need: with its modules the one place that names adapters."""

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
from typing import IO, TYPE_CHECKING, Any, Final
from uuid import uuid4

from assay.domain.errors import AssayError, Fatal, Unavailable, Unreadable
from assay.domain.position import TOPICS
from assay_adapters.console.run import complain, last_line, run
from assay_adapters.console.signals import interrupt, on_signal
from assay_adapters.files.whole import whole
from assay_cli.bootstrap.sections import (
    ANSWER,
    CONNECT,
    api_section,
    kafka_section,
    models_section,
    otel_section,
    postgres_section,
    s3_section,
    schema_registry_section,
    tables,
)
from assay_cli.offsets import Bounds, Topic
from assay_cli.services import Named, Reading, Stranger, named, reading

if TYPE_CHECKING:
    import polars as pl
    from sqlalchemy import Engine

    from assay.domain.books import Report
    from assay.domain.choice import Filter
    from assay.pipeline.redrive import Services
    from assay.pipeline.watch import Watch
    from assay.ports.objects import Objects
    from assay.wire.framed import Unframe
    from assay_adapters.environment.settings import Survey
    from assay_adapters.kafka.reading import WholeRecords
    from assay_adapters.postgres.lookup import DeadLetters
    from assay_adapters.postgres.review import Review

__all__ = [
    "DeadLetters",
    "Review",
    "complain",
    "interrupt",
    "last_line",
    "on_signal",
    "run",
    "whole",
]

_WORKERS: Final = 4  # chunks of a redrive that are worked on at once
_RUNS: Final = 64  # services that are looked for, the latest


def reference() -> str:
    """What every setting takes and means, as Markdown."""
    from assay_cli.bootstrap.reference import reference

    return reference()


def settings() -> "Survey":
    """The settings of all packages that are installed, and what is wrong with them."""
    from assay_adapters.environment.sections import installed
    from assay_adapters.environment.settings import survey

    return survey(installed())


@contextmanager
def dead_letters() -> "Generator[DeadLetters]":
    """The dead letters, for as long as the block lasts; raises what `tables` does."""
    from assay_adapters.postgres.lookup import DeadLetters

    with tables() as engine:
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

    with tables() as engine:
        return discarding.discard(engine, chosen, by=by, reason=reason)


@contextmanager
def importing(
    run_id: str, *, by: str
) -> "Generator[Callable[[pl.DataFrame, str], tuple[int, int]]]":
    """Takes in frames of letters, each with where it comes from: see `import_letters`.

    The run is noted in the tables.
    """
    from assay_adapters.postgres.imports import import_letters
    from assay_adapters.postgres.runs import end_run, start_run

    with tables() as engine:
        imported = renewed = 0

        def take(letters: "pl.DataFrame", place: str) -> tuple[int, int]:
            nonlocal imported, renewed
            done = import_letters(engine, letters, run_id=run_id, by=by, place=place)
            imported += done.new
            renewed += done.renewed
            return done

        status = "failed"
        try:
            start_run(engine, run_id, kind="import", source="import", version=version("assay"))
            yield take
            status = "done"
        finally:
            with suppress(AssayError):  # the books are kept elsewhere; this is a note
                end_run(
                    engine,
                    run_id,
                    status=status,
                    summary={"imported": imported, "renewed": renewed},
                )


def letters_on(topic: str) -> "Iterator[tuple[pl.DataFrame, int]]":
    """The letters on a topic: see `assay_adapters.kafka.reading`."""
    from assay_adapters.kafka.reading import letters_on

    return letters_on(kafka_section(), topic)


def whole_record(source: str, partition: str, position: int) -> bytes | None:
    """The bytes of a record of a topic: see `assay_adapters.kafka.reading.WholeRecords`.

    Raises:
        Unavailable: Kafka is away.
        Fatal: the settings of Kafka are wrong or missing, or the topic may not be read.
    """
    if not source.startswith(TOPICS):
        return None
    return _whole_records()(source, partition, position)


def unframe(values: Sequence[bytes]) -> "Sequence[bytes | str]":
    """The JSON of values that are written for a schema registry: see `assay.wire.framed.Unframe`.

    Raises:
        Unavailable: the registry is away.
        Fatal: the settings of the registry are wrong.
    """
    return _unframe()(values)


@cache
def _unframe() -> "Unframe":
    from assay.wire.framed import no_registry
    from assay_adapters.schema_registry.registry import SchemaRegistry

    config = schema_registry_section()
    return no_registry if config.url is None else SchemaRegistry(config).unframe


def require_kafka() -> None:
    """Returns if settings say how Kafka is reached, be it there or not.

    Raises:
        Fatal: they are wrong or missing.
    """
    kafka_section()


@cache
def _whole_records() -> "WholeRecords":
    from assay_adapters.kafka.reading import WholeRecords

    return WholeRecords(kafka_section())


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
    from assay_adapters.otel.start import tracing
    from assay_adapters.postgres.lookup import DeadLetters
    from assay_adapters.postgres.runs import end_run, start_run
    from assay_adapters.postgres.selection import PostgresSelection
    from assay_adapters.postgres.store import COMMITTING, PostgresStore
    from assay_adapters.prometheus.meter import PrometheusMeter

    api = api_section()
    with ExitStack() as stack:
        engine = stack.enter_context(tables())
        traced = stack.enter_context(tracing(otel_section(), "assay-redrive", COMMITTING))
        classifier = HttpClassifier(api, trace=traced.headers)
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
            watch=partial(Watch, PrometheusMeter(), clock, "redrive", tracer=traced.tracer),
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
                hasty = {"connect_timeout": CONNECT, "statement_timeout": ANSWER, "pool_size": 2}
                config = postgres_section().model_copy(update=hasty)
                engine = stack.enter_context(tables(config))

        def ask(url: str) -> Reading:
            told = client.ask(url)
            if "away" not in told.facts:  # as the model API, which has /health/ready as well
                raise Stranger(f"{url} is no streaming service")
            at = monotonic()
            try:
                return reading(at, samples(told.metrics), told.facts, is_ready=told.is_ready)
            except ValueError:
                raise Stranger(f"{url} is no streaming service") from None

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


@contextmanager
def review() -> "Generator[Review]":
    """What needs review, for as long as the block lasts; raises what `tables` does."""
    from assay_adapters.postgres.review import Review

    with tables() as engine:
        yield Review(engine)


def correct_groups(said: Mapping[str, tuple[str | None, str | None]], *, by: str) -> int:
    """Notes what somebody says of groups: see `assay_adapters.postgres.corrections`.

    Args:
        said: category (None withdraws) and reason by the groups' names.
        by: who.
    """
    from assay_adapters.postgres import corrections

    with tables() as engine:
        meant = {group: corrections.Said(*each) for group, each in said.items()}
        return corrections.correct_groups(engine, meant, by=by)


def correct_transaction(
    transaction_id: str, group: str, category: str | None, reason: str | None, *, by: str
) -> bool:
    """The same of one transaction of a group."""
    from assay_adapters.postgres import corrections

    with tables() as engine:
        said = corrections.Said(category, reason)
        return corrections.correct_transaction(engine, transaction_id, group, said, by=by)


@contextmanager
def corrections_held() -> "Generator[pl.DataFrame]":
    """The corrections that hold, while nobody adds to them; raises what `tables` does."""
    from assay_adapters.postgres import corrections

    with tables() as engine, corrections.held(engine) as held:
        yield held


def registry() -> "tuple[Objects, str]":
    """The registry of models: the objects there, and what their names begin with.

    Raises:
        Fatal: no settings name it, or those of S3 are wrong.
    """
    place = models_section().registry
    if place is None:
        raise Fatal("no registry of models is named: set ASSAY_MODELS__REGISTRY, as the API has it")
    if place.startswith("s3://"):
        from assay_adapters.s3.config import s3_client
        from assay_adapters.s3.objects import S3Objects

        return S3Objects(s3_client(s3_section())), place
    from assay_adapters.files.objects import LocalObjects

    return LocalObjects(), place


def migrate() -> list[str]:
    """Brings the tables to this version: see `assay_adapters.postgres.migrate`."""
    from assay_adapters.postgres import migrate as migrations

    return migrations.migrate(postgres_section())


def reconcile() -> "Report":
    """Proves the books: see `assay_adapters.postgres.reconcile`."""
    from assay_adapters.postgres import reconcile as books

    with tables() as engine:
        return books.reconcile(engine)


def note_proof(report: "Report") -> None:
    """Notes in the runs what a proof of the books has found, for those who watch.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the role may not write.
    """
    from assay_adapters.postgres.runs import end_run, start_run

    run_id = str(uuid4())
    differences = len(report.differences)
    with tables() as engine, engine.begin() as connection:
        start_run(connection, run_id, kind="reconcile", source="", version=version("assay"))
        end_run(
            connection,
            run_id,
            status="unbalanced" if differences else "balanced",
            summary={"entries": report.entries, "differences": differences},
        )


def topics() -> Callable[[str], Topic | None] | None:
    """What the brokers say of a topic by its name; None where no settings name any broker.

    What is returned raises `Unavailable` while Kafka is away.

    Raises:
        Fatal: the settings are wrong.
    """
    from assay_adapters.environment.settings import is_named
    from assay_adapters.kafka.topics import Topics

    if not is_named("kafka"):
        return None
    topics = Topics(kafka_section())

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


def lines_of(
    files: Iterable[str], standard: Callable[[], IO[bytes]]
) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Each of these files with its content, unpacked by its name's suffix.

    Args:
        files: paths, objects in S3 or what their names begin with, up to a `/`; `-` stands for
        standard: what this opens, which is read to its end.

    Raises:
        Unavailable: S3 is away.
        Unreadable: a file does not exist, may not be read, or is damaged.
        Fatal: the settings or rights of S3 are wrong.
    """
    from assay_adapters.compression.decompress import decompress

    for uri in files:
        if uri == "-":
            yield "standard input", iter(partial(standard().read, 1 << 20), b"")
        elif uri.startswith("s3://") and uri.endswith("/"):
            from assay_adapters.s3.config import s3_client
            from assay_adapters.s3.objects import S3Objects

            objects = S3Objects(s3_client(s3_section()))
            for item in objects.list(uri):
                yield item.uri, decompress(item.uri, objects.read(item))
        else:
            yield uri, blocks(uri)


def _s3_blocks(uri: str) -> Iterator[bytes]:
    from assay_adapters.s3.config import s3_client
    from assay_adapters.s3.objects import S3Objects

    objects = S3Objects(s3_client(s3_section()))
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
