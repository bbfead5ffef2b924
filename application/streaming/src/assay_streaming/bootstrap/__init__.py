"""Composes the streaming services: the one place that names their adapters.

What only the publisher of files needs is in `assay_streaming.bootstrap.files`: a consumer starts
without what speaks to S3. What reads or writes predictions on topics is in
`assay_streaming.bootstrap.fan_out`.
"""

import platform
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar
from uuid import uuid4

import structlog
from pydantic import Field
from sqlalchemy import Engine, QueuePool
from structlog.contextvars import bind_contextvars, get_contextvars

from assay.domain import metrics
from assay.domain.errors import AssayError, Fatal
from assay.domain.position import TOPICS
from assay.domain.reject import RAW_LIMIT, REDRIVE
from assay.pipeline.pace import Pace, within
from assay.pipeline.redrive import Services as RedriveServices
from assay.ports.lineage import Lineage
from assay.ports.store import Store
from assay.wire import messages, predictions
from assay.wire.framed import Frame, Unframe, as_json, no_registry
from assay_adapters.clock.system import SystemClock
from assay_adapters.compression.decompress import decompress
from assay_adapters.console.run import complain, last_line, run
from assay_adapters.console.signals import interrupt, on_signal
from assay_adapters.environment.settings import Settings, load
from assay_adapters.files.text import read_text
from assay_adapters.http.classifier import HttpClassifier
from assay_adapters.http.config import ApiConfig
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.events import KafkaEvents
from assay_adapters.kafka.letters import LARGEST, KafkaLetters
from assay_adapters.kafka.producer import KafkaProducer
from assay_adapters.kafka.reading import WholeRecords
from assay_adapters.kafka.source import Begin, KafkaSource, Reading
from assay_adapters.kafka.topics import Topics
from assay_adapters.log.config import LogConfig
from assay_adapters.log.configure import configure
from assay_adapters.openlineage.config import OpenLineageConfig
from assay_adapters.openlineage.job import Dataset, Job, tables_at, topic_at
from assay_adapters.openlineage.start import lineage
from assay_adapters.otel.config import OtelConfig
from assay_adapters.otel.start import tracing
from assay_adapters.postgres.begin import begin
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.letters import PostgresLetters
from assay_adapters.postgres.lookup import DeadLetters
from assay_adapters.postgres.published import require_own_books
from assay_adapters.postgres.retire import retire, unfinished
from assay_adapters.postgres.runs import end_run, ends, serving, start_run
from assay_adapters.postgres.selection import PostgresSelection
from assay_adapters.postgres.store import COMMITTING, PostgresStore
from assay_adapters.postgres.version import check
from assay_adapters.prometheus.meter import CONTENT_TYPE, PrometheusMeter
from assay_adapters.schema_registry.config import SchemaRegistryConfig
from assay_adapters.status.client import StatusClient
from assay_adapters.status.server import served
from assay_streaming import dead_letters
from assay_streaming.config import StreamConfig
from assay_streaming.consume import PIPELINE, Request, Result, Services
from assay_streaming.gaps import Gaps, Retire, find
from assay_streaming.groups import others
from assay_streaming.health import Health
from assay_streaming.outlet import Outlet

if TYPE_CHECKING:
    from assay_adapters.schema_registry.formats import Kind
    from assay_adapters.schema_registry.registry import SchemaRegistry, Standing

_LOOKED_AT: Final = 20  # runs, the latest
_LOOKING: Final = 1.0  # seconds that the end waits for a look at them
_log: Any = structlog.get_logger(__name__)

__all__ = ["complain", "decompress", "interrupt", "last_line", "on_signal", "read_text", "run"]


class LogSettings(Settings):
    """What every command reads from the environment."""

    log: LogConfig = Field(default_factory=LogConfig)


class KafkaSettings(LogSettings):
    """What every streaming service reads from the environment."""

    kafka: KafkaConfig
    stream: StreamConfig = Field(default_factory=StreamConfig)
    schema_registry: SchemaRegistryConfig = Field(default_factory=SchemaRegistryConfig)
    otel: OtelConfig = Field(default_factory=OtelConfig)
    openlineage: OpenLineageConfig = Field(default_factory=OpenLineageConfig)


class ClassifierSettings(KafkaSettings):
    """What a service reads from the environment that classifies from topic to topic."""

    api: ApiConfig


class BookSettings(KafkaSettings):
    """What is needed to hold a topic against its books, and to publish their letters."""

    postgres: PostgresConfig


class ConsumerSettings(BookSettings):
    """What the consumer reads from the environment."""

    api: ApiConfig


class Books(NamedTuple):
    """A topic beside its books.

    Attributes:
        gaps: what the topic has lost.
        noted: keeps a run of this kind for as long as a block lasts, with what that does.
    """

    gaps: Gaps
    store: Store
    retire: Retire
    noted: Callable[[str, dict[str, Any]], AbstractContextManager[None]]


AnySettings = TypeVar("AnySettings", bound=KafkaSettings)
AnyLogSettings = TypeVar("AnyLogSettings", bound=LogSettings)


def read(kind: type[AnyLogSettings]) -> AnyLogSettings:
    """Reads the settings, once, and sets up the log."""
    settings = load(kind)
    configure(settings.log.level)
    return settings


def make_topics(settings: KafkaSettings) -> Iterator[tuple[str, bool]]:
    """Makes the topics that are missing; yields each name and whether it is new."""
    topics = Topics(settings.kafka)
    stream = settings.stream
    largest = {
        stream.topic: None,
        stream.dead_letter_topic: LARGEST,
        stream.event_topic: None,
        stream.prediction_topic: predictions.LARGEST,
        stream.ledger_topic: None,
    }
    for name, limit in largest.items():
        yield (
            name,
            topics.make(
                name,
                partitions=stream.partitions,
                replication=stream.replication,
                config={} if limit is None else {"max.message.bytes": str(limit)},
            ),
        )


def make_schemas(settings: KafkaSettings) -> "Iterator[tuple[str, Standing]]":
    """Registers the schemas of what is written; yields each topic and how its values stand."""
    stream = settings.stream
    with ExitStack() as stack:
        if (registry := registry_of(stack, settings)) is None or stream.format == "json":
            return
        kinds: dict[str, Kind] = {
            stream.topic: "transaction",
            stream.prediction_topic: "prediction",
        }
        for topic, kind in kinds.items():
            yield topic, registry.register(kind, stream.format, topic)


def unframe_of(registry: "SchemaRegistry | None") -> Unframe:
    """Reads values that are written for a schema registry."""
    return no_registry if registry is None else registry.unframe


def frame_of(
    registry: "SchemaRegistry | None", stream: StreamConfig, kind: "Kind", topic: str
) -> Frame:
    """Writes the values of a topic."""
    form = stream.format
    return as_json if registry is None or form == "json" else registry.frame(kind, form, topic)


def registry_of(stack: ExitStack, settings: KafkaSettings) -> "SchemaRegistry | None":
    """The schema registry, if there is one, until the stack is closed.

    Raises:
        Fatal: there is none, and values are to be written for one.
    """
    if settings.schema_registry.url is None:
        if settings.stream.format != "json":
            raise Fatal(
                f"ASSAY_STREAM__FORMAT is {settings.stream.format}, which needs a schema registry:"
                " set ASSAY_SCHEMA_REGISTRY__URL"
            )
        return None
    from assay_adapters.schema_registry.registry import SchemaRegistry  # noqa: PLC0415 - who has none waits for none of it

    registry = SchemaRegistry(settings.schema_registry)
    stack.callback(registry.close)
    return registry


@contextmanager
def consumer(request: Request, settings: ConsumerSettings, result: Result) -> Generator[Services]:
    """All that a consumer is composed of, noted as a run and closed at the end of the block.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: settings or tables are wrong, or the status address cannot be listened on.
    """
    stream = settings.stream
    with ExitStack() as stack:
        engine = engine_of(stack, settings.postgres)
        require_own_books(engine, request.source, are_published=False)
        traced = stack.enter_context(tracing(settings.otel, "assay-consume", COMMITTING))
        classifier = HttpClassifier(settings.api, trace=traced.headers)
        stack.callback(classifier.close)
        meter, clock = stream_meter(), SystemClock()
        health, pace = health_of(stream, clock), pace_of(stream, settings.api)
        # Before anything is told or noted: librdkafka finds here what is wrong with its properties.
        source = source_of(
            settings,
            stream.topic,
            pace,
            partial(begin, engine, request.source, run_id=str(uuid4()), version=version("assay")),
        )
        url = served_by(stack, stream, health, meter)
        noted_by(stack, engine, result, kind="stream", source=request.source, url=url)
        told = lineage_of(stack, request, settings, tables_of(settings.postgres))
        # Beside the start, which waits for no service that does not answer.
        looking = Thread(
            target=copy_context().run, args=(_look_for_others, engine, request), daemon=True
        )
        looking.start()
        # It may hold a connection just now, which is to be given back before all are closed.
        stack.callback(looking.join, _LOOKING)
        events = events_of(stack, settings, meter, PIPELINE)
        if "start" in stream.model_fields_set and unfinished(engine, request.source):
            _log.info(
                "reading goes on where the books stand; --from counts for what was never read"
            )
        stack.callback(source.close)
        executor = workers(stack, stream)
        yield Services(
            source=source,
            classifier=classifier,
            store=PostgresStore(engine, processing_type="stream"),
            executor=executor,
            clock=clock,
            meter=meter,
            pace=pace,
            tracer=traced.tracer,
            health=health,
            events=events,
            connections=connections_of(engine),
            on_signal=on_signal,
            decode=partial(messages.decode, unframe=unframe_of(registry_of(stack, settings))),
            lineage=told,
        )


def tables_of(config: PostgresConfig) -> list[Dataset]:
    """The tables that are written, for catalogs of data."""
    return tables_at(config.url.get_secret_value(), "transactions", "predictions")


def lineage_of(
    stack: ExitStack, request: Request, settings: KafkaSettings, writes: Sequence[Dataset]
) -> Lineage:
    """Tells what a service reads and writes, until the stack is closed."""
    topic = request.source.removeprefix(TOPICS)
    job = Job(
        name=f"{request.pipeline}.{topic}",
        run_id=request.run_id,
        kind="STREAMING",
        reads=topic_at(settings.kafka.bootstrap_servers, topic),
        writes=writes,
    )
    return stack.enter_context(lineage(settings.openlineage, job))


def stream_meter() -> PrometheusMeter:
    """What a service that reads a topic tells of itself."""
    return PrometheusMeter(each for each in metrics.METRICS if each not in metrics.OF_TABLES)


def health_of(stream: StreamConfig, clock: SystemClock) -> Health:
    """How a service that reads a topic is."""
    # What waits for its chunk to be cut is not late.
    return Health(clock, stream.stall + stream.linger)


def pace_of(stream: StreamConfig, api: ApiConfig) -> Pace:
    """How much is taken on at a time."""
    return within(
        stream.chunk_records,
        chunks=stream.window_chunks,
        workers=stream.workers,
        connections=api.connections,
        timeout=api.timeout,
    )


def source_of(
    settings: KafkaSettings,
    topic: str,
    pace: Pace,
    begin: Begin,
    *,
    record_bytes: int = RAW_LIMIT,
    follow: bool = True,
) -> KafkaSource:
    """A topic, as a source.

    Args:
        settings: how it is read.
        topic: its name.
        pace: how much at a time.
        begin: enters where reading begins.
        record_bytes: of a longer record its head is read.
        follow: whether the group's committed offsets follow what is acked.

    Raises:
        Fatal: a property is wrong.
    """
    stream = settings.stream
    return KafkaSource(
        settings.kafka,
        Reading(
            topic=topic,
            group=stream.group,
            start=stream.start,
            instance=stream.instance_id,
            chunk_records=stream.chunk_records,
            chunk_bytes=stream.chunk_mib << 20,
            linger=stream.linger,
            queue_bytes=stream.queue_mib << 20,
            record_bytes=record_bytes,
            follow=follow,
            is_traced=settings.otel.traces,
        ),
        begin=begin,
        chunk_records=lambda: pace.chunk_records,
    )


def workers(stack: ExitStack, stream: StreamConfig) -> ThreadPoolExecutor:
    """Do the jobs, until the stack is closed."""
    executor = ThreadPoolExecutor(
        stream.workers,
        thread_name_prefix="worker",
        initializer=partial(bind_contextvars, **get_contextvars()),
    )
    # What is still under way when a stream fails is not waited for before it begins.
    stack.callback(executor.shutdown, wait=True, cancel_futures=True)
    return executor


def _look_for_others(engine: Engine, request: Request) -> None:
    """Warns of other groups that read the topic into these tables."""
    client = StatusClient()
    try:
        found = set(
            others(
                serving(engine, _LOOKED_AT),
                lambda url: client.ask(url).facts,
                source=request.source,
                group=request.group,
            )
        )
    except AssayError:  # whoever needs the tables will say so
        return
    finally:
        client.close()
    for group in sorted(found):
        _log.warning(
            "another group reads this topic into the same database: stop one of them, since each"
            " undoes the work of the other; nothing is doubled",
            group=request.group,
            other=group,
        )


class Noted(Protocol):
    """What is noted of a service in the runs."""

    run_id: str
    status: str

    def summary(self) -> dict[str, Any]:
        """What its last line says."""
        ...


def engine_of(stack: ExitStack, config: PostgresConfig) -> Engine:
    """PostgreSQL with tables of this version, until the stack is closed."""
    engine = engine_for(config)
    stack.callback(engine.dispose)
    check(engine)
    return engine


def connections_of(engine: Engine) -> Callable[[], int]:
    """How many connections of a pool are in use."""
    pool = engine.pool
    return pool.checkedout if isinstance(pool, QueuePool) else lambda: 0


def served_by(
    stack: ExitStack, stream: StreamConfig, health: Health, meter: PrometheusMeter
) -> str:
    """Answers for health and metrics until the stack is closed; returns where."""
    answering = served(
        stream.status_host,
        stream.status_port,
        alive=health.alive,
        ready=health.ready,
        metrics=meter.exposition,
        metrics_type=CONTENT_TYPE,
    )
    try:
        url = stack.enter_context(answering)
    except Fatal as error:
        raise Fatal(
            f"{error}; set --status-port or ASSAY_STREAM__STATUS_PORT (0 takes a free one), or"
            " ASSAY_STREAM__STATUS_HOST"
        ) from None
    _log.info("health and metrics are told", url=url)
    return url


def noted_by(
    stack: ExitStack, engine: Engine, result: Noted, *, kind: str, source: str, url: str | None
) -> None:
    """Notes that a service has begun, and how it has ended when the stack is closed."""

    def note(_: object, error: BaseException | None, __: object) -> None:
        status = result.status
        if status == "running":  # what fails before it can begin has told nobody yet
            status = "failed" if isinstance(error, Exception) else "stopped"
        summary = {**result.summary(), "status": status}
        with suppress(AssayError):  # the books are kept elsewhere; this is a note
            end_run(engine, result.run_id, status=status, summary=summary)

    stack.push(note)  # before the other, for a signal may come as soon as that is written
    start_run(
        engine,
        result.run_id,
        kind=kind,
        source=source,
        version=version("assay"),
        status_url=url,
    )


def events_of(
    stack: ExitStack, settings: KafkaSettings, meter: PrometheusMeter, pipeline: str
) -> KafkaEvents:
    """Tells events until the stack is closed."""

    def dropped(number: int) -> None:
        meter.add(metrics.EVENTS_DROPPED, number, pipeline=pipeline)

    dropped(0)
    events = KafkaEvents(settings.kafka, settings.stream.event_topic, dropped)
    stack.callback(events.close)
    return events


@dataclass(frozen=True)
class _Runs:
    """Notes on redrives in the tables, and how other runs have ended."""

    engine: Engine

    def start(self, run_id: str) -> None:
        """One has begun."""
        start_run(self.engine, run_id, kind="redrive", source=REDRIVE, version=version("assay"))

    def end(self, run_id: str, status: str, summary: Mapping[str, Any]) -> None:
        """It has ended like this."""
        end_run(self.engine, run_id, status=status, summary=summary)

    def ends(self) -> Mapping[tuple[str, str], float]:
        """When the latest of each kind and status has ended."""
        return ends(self.engine)


@contextmanager
def dead_letter_service(
    request: dead_letters.Request,
    settings: BookSettings,
    result: dead_letters.Result,
) -> Generator[dead_letters.Services]:
    """All that the dead-letter service is composed of, closed at the end of the block.

    Without the model API in its settings it tries nothing again. Where it goes on for ever, it is
    noted as a run, and answers for its health.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: settings or tables are wrong, or the status address cannot be listened on.
    """
    stream = settings.stream
    with ExitStack() as stack:
        engine = engine_of(stack, settings.postgres)
        meter, clock = PrometheusMeter(), SystemClock()
        health = Health(clock, stream.stall)
        publisher = KafkaLetters(settings.kafka)  # finds wrong properties before anything is told
        if not request.once:
            url = served_by(stack, stream, health, meter)
            kind = dead_letters.SERVICE
            noted_by(stack, engine, result, kind=kind, source="dead_letters", url=url)
        events = events_of(stack, settings, meter, dead_letters.PIPELINE)
        # A stranger's claims are taken up when their lease is over.
        relay = stream.instance_id or f"{platform.node()}/{request.run_id}"
        letters = PostgresLetters(engine, f"stream/{relay}")
        stack.callback(_give_back, letters)
        stack.callback(publisher.close)
        whole = WholeRecords(settings.kafka)
        stack.callback(whole.close)
        redrives = None
        if isinstance(settings, ConsumerSettings):
            redrives = _redrives(stack, engine, settings, clock)
        yield dead_letters.Services(
            letters=letters,
            publisher=publisher,
            books=DeadLetters(engine),
            runs=_Runs(engine),
            redrives=redrives,
            whole=whole,
            unframe=unframe_of(registry_of(stack, settings)),
            clock=clock,
            meter=meter,
            health=health,
            events=events,
            connections=connections_of(engine),
            on_signal=on_signal,
        )


def _give_back(letters: PostgresLetters) -> None:
    with suppress(AssayError):  # what cannot be given back is free when its lease is over
        letters.give_back()


def _redrives(
    stack: ExitStack, engine: Engine, settings: ConsumerSettings, clock: SystemClock
) -> Callable[[str], RedriveServices]:
    """Makes what redrives are composed of, each by its run."""
    classifier = HttpClassifier(settings.api)
    stack.callback(classifier.close)
    executor = workers(stack, settings.stream)
    store = PostgresStore(engine, processing_type="redrive")

    def make(run_id: str) -> RedriveServices:
        return RedriveServices(
            selection=PostgresSelection(engine, run_id, by=f"assay stream {dead_letters.SERVICE}"),
            store=store,
            classifier=classifier,
            executor=executor,
            clock=clock,
        )

    return make


@contextmanager
def outlet_for(settings: KafkaSettings) -> Generator[tuple[Outlet, Frame]]:
    """A producer for the topic of transactions, which exists, and what writes its values.

    Raises:
        Fatal: there is no such topic, or settings are wrong.
        Unavailable: Kafka is away.
    """
    with ExitStack() as stack:
        topic = settings.stream.topic
        frame = frame_of(registry_of(stack, settings), settings.stream, "transaction", topic)
        Topics(settings.kafka).named(topic)
        traced = stack.enter_context(tracing(settings.otel, "assay-produce"))
        yield KafkaProducer(settings.kafka, topic, traced.sending), frame


@contextmanager
def books(settings: BookSettings, name: str) -> Generator[Books]:
    """A topic beside its books, for as long as the block lasts.

    Raises:
        Unavailable: PostgreSQL or Kafka is away.
        Fatal: settings or tables are wrong, or there are neither topic nor books of this name.
    """
    with ExitStack() as stack:
        engine = engine_of(stack, settings.postgres)
        topics = Topics(settings.kafka)
        source = TOPICS + name
        stand = unfinished(engine, source)
        topic = topics.find(name)
        if topic is None and not stand:
            raise Fatal(f"there are neither a topic {name} nor books of one: check the name")
        known = {} if topic is None else topics.bounds(topic)
        bounds = {str(number): each for number, each in known.items()}

        @contextmanager
        def noted(run_id: str, facts: dict[str, Any]) -> Generator[None]:
            kind, status, summary = "accept-gap", "failed", {}
            try:
                start_run(engine, run_id, kind=kind, source=source, version=version("assay"))
                yield
                status, summary = "done", facts
            finally:
                with suppress(AssayError):  # the books are kept elsewhere; this is a note
                    end_run(engine, run_id, status=status, summary=summary)

        yield Books(
            gaps=find(stand, bounds, None if topic is None else topic.id),
            store=PostgresStore(engine, processing_type="accept-gap"),
            retire=partial(retire, engine),
            noted=noted,
        )
