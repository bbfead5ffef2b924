"""Composes the streaming services: the one place that names their adapters."""

from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from typing import TypeVar

from pydantic import Field
from sqlalchemy import QueuePool

from assay.domain.errors import AssayError, Fatal
from assay.ports.objects import Objects
from assay_adapters.clock.system import SystemClock
from assay_adapters.compression.decompress import decompress
from assay_adapters.console.run import complain, last_line, run
from assay_adapters.console.signals import on_signal
from assay_adapters.environment.settings import Settings, load
from assay_adapters.files.location import located as located_here
from assay_adapters.files.objects import LocalObjects
from assay_adapters.files.text import read_text
from assay_adapters.http.classifier import HttpClassifier
from assay_adapters.http.config import ApiConfig
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.producer import KafkaProducer
from assay_adapters.kafka.source import KafkaSource, Reading
from assay_adapters.kafka.topics import Topics
from assay_adapters.log.config import LogConfig
from assay_adapters.log.configure import configure
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.migrate import check
from assay_adapters.postgres.runs import end_run, start_run
from assay_adapters.postgres.store import PostgresStore
from assay_adapters.prometheus.meter import CONTENT_TYPE, PrometheusMeter
from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
from assay_adapters.s3.objects import located as located_in_s3
from assay_adapters.status.server import served
from assay_streaming.config import StreamConfig
from assay_streaming.consume import Request, Result, Services
from assay_streaming.health import Health
from assay_streaming.outlet import Outlet

__all__ = ["complain", "decompress", "last_line", "read_text", "run"]


class KafkaSettings(Settings):
    """What every streaming service reads from the environment."""

    kafka: KafkaConfig
    stream: StreamConfig = Field(default_factory=StreamConfig)
    log: LogConfig = Field(default_factory=LogConfig)


class ConsumerSettings(KafkaSettings):
    """What the consumer reads from the environment."""

    postgres: PostgresConfig
    api: ApiConfig


class PublishSettings(KafkaSettings):
    """What the publisher of files reads from the environment."""

    s3: S3Config = Field(default_factory=S3Config)


AnySettings = TypeVar("AnySettings", bound=KafkaSettings)


def read(kind: type[AnySettings]) -> AnySettings:
    """Reads the settings, once, and sets up the log."""
    settings = load(kind)
    configure(settings.log.level)
    return settings


def make_topics(settings: KafkaSettings) -> Iterator[tuple[str, bool]]:
    """Makes the topics that are missing; yields each name and whether it is new."""
    topics = Topics(settings.kafka)
    stream = settings.stream
    for name in (stream.topic, stream.dead_letter_topic, stream.event_topic):
        yield (
            name,
            topics.make(name, partitions=stream.partitions, replication=stream.replication),
        )


@contextmanager
def consumer(request: Request, settings: ConsumerSettings, result: Result) -> Generator[Services]:
    """All that a consumer is composed of, noted as a run and closed at the end of the block.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: settings or tables are wrong, or the status address cannot be listened on.
    """
    stream = settings.stream
    with ExitStack() as stack:
        engine = engine_for(settings.postgres)
        stack.callback(engine.dispose)
        check(engine)
        classifier = HttpClassifier(settings.api)
        stack.callback(classifier.close)
        meter, clock = PrometheusMeter(), SystemClock()
        health = Health(clock, stream.stall)
        url = stack.enter_context(
            served(
                stream.status_host,
                stream.status_port,
                alive=health.alive,
                ready=health.ready,
                metrics=meter.exposition,
                metrics_type=CONTENT_TYPE,
            )
        )
        start_run(
            engine,
            request.run_id,
            kind="stream",
            source=request.source,
            version=version("assay"),
            status_url=url,
        )

        def note() -> None:
            with suppress(AssayError):  # the books are kept elsewhere; this is a note
                end_run(engine, request.run_id, status=result.status, summary=result.summary())

        stack.callback(note)
        source = KafkaSource(
            settings.kafka,
            Reading(
                topic=stream.topic,
                group=stream.group,
                instance=stream.instance_id,
                start=stream.start,
                chunk_records=stream.chunk_records,
                chunk_bytes=stream.chunk_mib << 20,
                linger=stream.linger,
                queue_bytes=stream.queue_mib << 20,
            ),
        )
        stack.callback(source.close)
        executor = ThreadPoolExecutor(stream.workers, thread_name_prefix="worker")
        # What is still under way when the stream fails is not waited for before it begins.
        stack.callback(executor.shutdown, wait=True, cancel_futures=True)
        pool = engine.pool
        yield Services(
            source=source,
            classifier=classifier,
            store=PostgresStore(engine, processing_type="stream"),
            executor=executor,
            clock=clock,
            meter=meter,
            health=health,
            connections=pool.checkedout if isinstance(pool, QueuePool) else lambda: 0,
            on_signal=on_signal,
        )


def outlet_for(settings: KafkaSettings, topic: str | None) -> Outlet:
    """A producer for a topic that exists: the one that is given, or that of the settings.

    Raises:
        Fatal: there is no such topic.
        Unavailable: Kafka is away.
    """
    name = topic or settings.stream.topic
    Topics(settings.kafka).named(name)
    return KafkaProducer(settings.kafka, name)


def located(uri: str) -> str:
    """A file, folder or pattern, named as objects that lie there are; a folder ends in `/`.

    Raises:
        Fatal: it is the address of something else.
    """
    return located_in_s3(uri) if uri.startswith("s3://") else located_here(uri)


def objects_for(uris: Sequence[str], settings: PublishSettings) -> Objects:
    """Where files are that are located so.

    Raises:
        Fatal: some are in S3 and some on this machine.
    """
    kinds = {uri.startswith("s3://") for uri in uris}
    if len(kinds) > 1:
        raise Fatal("files are all in S3 or all on this machine: publish once for each")
    return S3Objects(s3_client(settings.s3)) if kinds == {True} else LocalObjects()
