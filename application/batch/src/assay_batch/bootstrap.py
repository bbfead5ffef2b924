"""Composes the batch service: the one place that names its adapters."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any, TypeVar

from pydantic import Field
from sqlalchemy import Engine
from structlog.contextvars import bind_contextvars, get_contextvars

from assay.pipeline.pace import within
from assay.ports.objects import Objects
from assay.ports.store import Store
from assay_adapters.clock.system import SystemClock
from assay_adapters.compression.decompress import decompress
from assay_adapters.console.run import complain, last_line, run
from assay_adapters.console.signals import interrupt, on_signal
from assay_adapters.environment.settings import Settings, load
from assay_adapters.files.location import located as located_here
from assay_adapters.files.objects import LocalObjects
from assay_adapters.files.text import read_text
from assay_adapters.http.classifier import HttpClassifier
from assay_adapters.http.config import ApiConfig
from assay_adapters.letter_objects.publisher import LetterObjects
from assay_adapters.log.config import LogConfig
from assay_adapters.log.configure import configure
from assay_adapters.openlineage.config import OpenLineageConfig
from assay_adapters.openlineage.job import Job, tables_at
from assay_adapters.openlineage.start import lineage
from assay_adapters.otel.config import OtelConfig
from assay_adapters.otel.start import tracing
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.letters import PostgresLetters
from assay_adapters.postgres.runs import end_run, start_run
from assay_adapters.postgres.store import COMMITTING, PostgresStore
from assay_adapters.postgres.version import check
from assay_adapters.prometheus.meter import PrometheusMeter
from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects
from assay_adapters.s3.objects import located as located_in_s3
from assay_batch.config import BatchConfig
from assay_batch.places import Places, is_s3
from assay_batch.run import Runs, Services

__all__ = [
    "complain",
    "decompress",
    "interrupt",
    "last_line",
    "on_signal",
    "read_text",
    "run",
]

_BATCH = "batch"
_RELAY = "batch"
"""All batch runs share one relay's name: what one has left behind the next takes up at once, and
when two do so together they write the same objects."""


class ReadSettings(Settings):
    """What a dry run reads from the environment."""

    s3: S3Config = Field(default_factory=S3Config)
    batch: BatchConfig = Field(default_factory=BatchConfig)
    log: LogConfig = Field(default_factory=LogConfig)
    otel: OtelConfig = Field(default_factory=OtelConfig)


class ListSettings(ReadSettings):
    """What a list of files that wait reads from the environment."""

    postgres: PostgresConfig


class BatchSettings(ListSettings):
    """What the batch service reads from the environment."""

    api: ApiConfig
    openlineage: OpenLineageConfig = Field(default_factory=OpenLineageConfig)


AnySettings = TypeVar("AnySettings", bound=ReadSettings)


def read(kind: type[AnySettings]) -> AnySettings:
    """Reads the settings, once, and sets up the log."""
    settings = load(kind)
    configure(settings.log.level)
    return settings


def located(uri: str) -> str:
    """A file, folder or pattern, named as objects that lie there are; a folder ends in `/`.

    Raises:
        Fatal: it is the address of something else.
    """
    return located_in_s3(uri) if is_s3(uri) else located_here(uri)


def objects_for(places: Places, settings: ReadSettings) -> Objects:
    """Where these places are."""
    return S3Objects(s3_client(settings.s3)) if is_s3(places.errors) else LocalObjects()


class PostgresRuns:
    """The notes of runs, in the table `runs`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def check(self) -> None:
        """Raises `Fatal` where the tables are missing or of another version."""
        check(self._engine)

    def start(self, run_id: str, source: str) -> None:
        """A run has begun."""
        start_run(self._engine, run_id, kind="batch", source=source, version=version("assay"))

    def end(self, run_id: str, status: str, summary: dict[str, Any]) -> None:
        """It has ended like this."""
        end_run(self._engine, run_id, status=status, summary=summary)


@contextmanager
def books(places: Places, settings: ListSettings) -> Generator[tuple[Objects, Store, Runs]]:
    """What tells which files wait, closed at the end of the block."""
    engine = engine_for(settings.postgres)
    try:
        yield (
            objects_for(places, settings),
            PostgresStore(engine, processing_type=_BATCH),
            PostgresRuns(engine),
        )
    finally:
        engine.dispose()


@contextmanager
def services(
    places: Places, settings: BatchSettings, run_id: str, source: str
) -> Generator[Services]:
    """All that a run is composed of, closed at the end of the block."""
    url = settings.postgres.url.get_secret_value()
    job = Job(
        name=f"batch.{source}",
        run_id=run_id,
        kind="BATCH",
        reads=None,
        writes=tables_at(url, "transactions", "predictions"),
    )
    with ExitStack() as stack:
        told = stack.enter_context(lineage(settings.openlineage, job))
        engine = engine_for(settings.postgres)
        stack.callback(engine.dispose)
        batch, api = settings.batch, settings.api
        traced = stack.enter_context(tracing(settings.otel, "assay-batch", COMMITTING))
        classifier = HttpClassifier(api, trace=traced.headers)
        stack.callback(classifier.close)
        executor = ThreadPoolExecutor(
            batch.workers,
            thread_name_prefix="worker",
            initializer=partial(bind_contextvars, **get_contextvars()),
        )
        # What is still under way when a run fails is not waited for before it begins.
        stack.callback(executor.shutdown, wait=True, cancel_futures=True)
        objects = objects_for(places, settings)
        yield Services(
            objects=objects,
            decompress=decompress,
            classifier=classifier,
            store=PostgresStore(engine, processing_type=_BATCH),
            letters=PostgresLetters(engine, _RELAY),
            publisher=LetterObjects(objects),
            runs=PostgresRuns(engine),
            executor=executor,
            clock=SystemClock(),
            meter=PrometheusMeter(),
            tracer=traced.tracer,
            lineage=told,
            pace=within(
                batch.chunk_records,
                chunks=batch.window_chunks,
                workers=batch.workers,
                connections=api.connections,
                timeout=api.timeout,
            ),
            on_signal=on_signal,
        )
