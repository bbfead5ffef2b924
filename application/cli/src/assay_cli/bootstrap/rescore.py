"""Composes a rescore."""

# ruff: noqa: PLC0415 - a command waits for the libraries that it uses, and for no others

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from assay_cli.bootstrap.sections import (
    api_section,
    openlineage_section,
    otel_section,
    postgres_section,
    tables,
)

if TYPE_CHECKING:
    from assay.domain.position import Position, Positions
    from assay.pipeline.rescore import Services
    from assay.pipeline.watch import Watch
    from assay.ports.lineage import Lineage

_WORKERS: Final = 4  # chunks that are worked on at once


@dataclass(frozen=True)
class Rescoring:
    """What a rescore needs.

    Attributes:
        model: name and version of the model that the API serves just now.
        passes: where each partition of a source stands.
        to_come: how many transactions there are from a position on.
        services: what it is composed of; told the partition, and what bounds the reading of it.
        watch: makes what it is watched by.
        start: notes in the tables that a run has begun, by its name and source.
        end: notes how it has ended.
        lineage: told of the run, where it has something to do.
        follow: lets what people have said of groups hold under the names that this version gives.
    """

    model: Callable[[], tuple[str, str]]
    passes: "Callable[[str], Positions]"
    to_come: "Callable[[Position | None], int]"
    services: "Callable[..., Services]"
    watch: "Callable[..., Watch]"
    start: Callable[[str, str], None]
    end: Callable[[str, str, Mapping[str, Any]], None]
    follow: Callable[[], None]
    lineage: "Lineage"


@contextmanager
def rescoring(run_id: str) -> Generator[Rescoring]:
    """All that a rescore is composed of, closed at the end of the block."""
    from assay.pipeline.rescore import Services
    from assay.pipeline.watch import Watch
    from assay_adapters.clock.system import SystemClock
    from assay_adapters.http.classifier import HttpClassifier
    from assay_adapters.openlineage.job import Job, tables_at
    from assay_adapters.openlineage.start import lineage
    from assay_adapters.otel.start import tracing
    from assay_adapters.postgres.corrections import follow
    from assay_adapters.postgres.runs import end_run, start_run
    from assay_adapters.postgres.store import COMMITTING, PostgresStore
    from assay_adapters.postgres.transactions import TransactionSource, passes, to_come
    from assay_adapters.prometheus.meter import PrometheusMeter

    api = api_section()
    with ExitStack() as stack:
        postgres = postgres_section()
        engine = stack.enter_context(tables(postgres))
        read, written = tables_at(postgres.url.get_secret_value(), "transactions", "predictions")
        job = Job("rescore.transactions", run_id, "BATCH", read, [written])
        told = stack.enter_context(lineage(openlineage_section(), job))
        traced = stack.enter_context(tracing(otel_section(), "assay-rescore", COMMITTING))
        classifier = HttpClassifier(api, trace=traced.headers)
        stack.callback(classifier.close)
        executor = ThreadPoolExecutor(_WORKERS, thread_name_prefix="worker")
        # What is still under way when a run fails is not waited for before it begins.
        stack.callback(executor.shutdown, wait=True, cancel_futures=True)
        clock = SystemClock()

        def services(partition: str, **bounds: Any) -> Services:
            return Services(
                source=TransactionSource(engine, partition, clock, **bounds),
                store=PostgresStore(engine, processing_type="rescore"),
                classifier=classifier,
                executor=executor,
                clock=clock,
            )

        yield Rescoring(
            model=classifier.model,
            passes=partial(passes, engine),
            to_come=partial(to_come, engine),
            services=services,
            watch=partial(Watch, PrometheusMeter(), clock, "rescore", tracer=traced.tracer),
            start=lambda run_id, source: start_run(
                engine, run_id, kind="rescore", source=source, version=version("assay")
            ),
            end=lambda run_id, status, summary: end_run(
                engine, run_id, status=status, summary=summary
            ),
            follow=partial(follow, engine),
            lineage=told,
        )
