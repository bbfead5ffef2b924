"""Chunks, sends and requests as spans of OpenTelemetry.

Names and attributes are those of its semantic conventions for messaging, HTTP and databases; where
these have none they begin with `assay.`. No content of a record is in a span, no id of one, and of
an error the kind alone.
"""

import os
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import islice
from threading import Thread
from typing import Any, Final, TypeAlias

from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import (
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.contextvars import bound_contextvars

from assay.domain.chunk import Chunk
from assay.domain.position import TOPICS
from assay.domain.tally import Tally
from assay.ports.tracer import Step
from assay_adapters.otel.export import Told

RATIO: Final = 0.01
"""Of traces that begin here, where OpenTelemetry's variables do not say how many."""

_FLUSH: Final = 3.0  # seconds that the end waits for the collector
_TIMEOUT: Final = 3.0  # seconds of one attempt at it
_MOST: Final = 32  # ranges, and links, of a span
_NANO: Final = 1_000_000_000
_W3C: Final = TraceContextTextMapPropagator()

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class Linked(Sampler):
    """Samples what is linked to a sampled trace, so that none ends at a topic; else as another."""

    def __init__(self, inner: Sampler) -> None:
        self._inner = inner

    def should_sample(  # noqa: PLR0917 - OpenTelemetry's signature
        self,
        parent_context: context.Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        """Whether a span is recorded."""
        if any(each.context.trace_flags.sampled for each in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._inner.should_sample(
            parent_context, trace_id, name, kind, attributes, links, trace_state
        )

    def get_description(self) -> str:
        """What it is called."""
        return f"Linked{{{self._inner.get_description()}}}"


class Traces:
    """A `Tracer` of the pump's chunks, and the spans of whoever sends, asks or answers.

    Spans wait in a queue of bounded length for a thread that sends them: whoever makes one waits
    for nobody. What is current in a thread gives its log lines `trace_id` and `span_id`.
    """

    def __init__(self, provider: TracerProvider, committing: Mapping[str, str]) -> None:
        """Traces as the provider says.

        Args:
            provider: belongs to it from now on.
            committing: attributes of the step `commit`.
        """
        # Of the provider that OpenTelemetry's variables have made, whatever they say.
        provider.sampler = Linked(provider.sampler)
        self._provider, self._committing = provider, dict(committing)
        self._tracer = provider.get_tracer("assay")

    @classmethod
    def exported(cls, service: str, committing: Mapping[str, str]) -> "Traces":
        """Traces that go to a collector, as OpenTelemetry's variables say."""
        environ = os.environ
        is_named = "OTEL_SERVICE_NAME" in environ or "service.name=" in environ.get(
            "OTEL_RESOURCE_ATTRIBUTES", ""
        )
        sampler = None
        if "OTEL_TRACES_SAMPLER" not in environ:
            sampler = ParentBased(TraceIdRatioBased(_ratio()))
        provider = TracerProvider(
            sampler,
            Resource.create({} if is_named else {"service.name": service}),
            shutdown_on_exit=False,  # `close` does it, and waits no longer than it says
        )
        is_timed = environ.keys() & {
            "OTEL_EXPORTER_OTLP_TIMEOUT",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT",
        }
        exporter = OTLPSpanExporter(timeout=None if is_timed else _TIMEOUT)
        provider.add_span_processor(BatchSpanProcessor(Told(exporter)))
        return cls(provider, committing)

    def close(self) -> None:
        """Sends what is left, for three seconds at most."""
        closing = Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(_FLUSH)

    # ---------------------------------------------------------------- chunks

    def begin(self, chunk: Chunk, *, run_id: str, source: str, seconds: float) -> "_ChunkTrace":
        """A chunk was handed out: see `assay.ports.tracer`."""
        read_at = time.time_ns()
        began = read_at - int(seconds * _NANO)
        records = chunk.records.height
        topic = source.removeprefix(TOPICS) if source.startswith(TOPICS) else None
        attributes: dict[str, Any] = {
            "assay.run_id": run_id,
            "assay.source": source,
            "assay.records": records,
            "assay.ranges": [
                f"{each.partition}: {each.first}-{each.next}"
                for each in islice(chunk.ranges, _MOST)
            ],
        }
        if topic is not None:
            attributes |= _messaging("process", topic, records)
            if len(chunk.ranges) == 1:
                attributes["messaging.destination.partition.id"] = chunk.ranges[0].partition
        span = self._tracer.start_span(
            f"process {source if topic is None else topic}",
            context=context.Context(),
            kind=SpanKind.INTERNAL if topic is None else SpanKind.CONSUMER,
            links=[*islice(_links(chunk), _MOST)],
            attributes=attributes,
            start_time=began,
        )
        current = trace.set_span_in_context(span, context.Context())
        read = self._tracer.start_span(
            "read", current, start_time=began, attributes={"assay.records": records}
        )
        read.end(read_at)
        return _ChunkTrace(span, self._within, self._committing)

    @contextmanager
    def _within(
        self, name: str, parent: Span, kind: SpanKind, attributes: Mapping[str, Any]
    ) -> Generator[Span]:
        """A span that is current in this thread, for as long as the block lasts."""
        around = trace.set_span_in_context(parent, context.Context())
        span = self._tracer.start_span(name, around, kind, attributes)
        with _current(span), _failing(span):
            yield span

    # ---------------------------------------------------------------- whoever sends, asks, answers

    def headers(self) -> Mapping[str, str]:
        """`traceparent` of what is current in this thread, be it sampled or not."""
        carrier: dict[str, str] = {}
        _W3C.inject(carrier)
        return carrier

    @contextmanager
    def sending(self, topic: str, messages: int) -> Generator[Mapping[str, str]]:
        """Messages are handed over: the headers of one of them, if that is sampled."""
        span = self._tracer.start_span(
            f"send {topic}", kind=SpanKind.PRODUCER, attributes=_messaging("send", topic, messages)
        )
        carrier: dict[str, str] = {}
        if span.is_recording():
            _W3C.inject(carrier, trace.set_span_in_context(span))
        with _failing(span):
            yield carrier

    @contextmanager
    def step(self, name: str) -> Generator[None]:
        """A part of what is traced in this thread or task."""
        with self._within(name, trace.get_current_span(), SpanKind.INTERNAL, {}):
            yield

    def served(self, app: Application) -> Application:
        """The same application; a POST is a span, within the trace of whoever has sent it."""

        async def traced(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or scope["method"] != "POST":
                await app(scope, receive, send)
                return
            given = {
                name.decode("latin-1"): each.decode("latin-1") for name, each in scope["headers"]
            }
            span = self._tracer.start_span(
                "POST",
                _W3C.extract(given, context.Context()),
                SpanKind.SERVER,
                {
                    "http.request.method": "POST",
                    "url.path": scope["path"],
                    "url.scheme": scope["scheme"],
                },
            )

            async def noted(message: MutableMapping[str, Any]) -> None:
                if message["type"] == "http.response.start":
                    status = message["status"]
                    span.set_attribute("http.response.status_code", status)
                    if status >= 500:  # noqa: PLR2004 - the server's own faults
                        span.set_attribute("error.type", str(status))
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            with _current(span), _failing(span):
                await app(scope, receive, noted)
                if route := getattr(scope.get("route"), "path", None):
                    span.set_attribute("http.route", route)
                    span.update_name(f"POST {route}")

        return traced


class _ChunkTrace:
    """The way of one chunk."""

    def __init__(
        self,
        span: Span,
        within: Callable[..., AbstractContextManager[Span]],
        committing: Mapping[str, str],
    ) -> None:
        self._span, self._within, self._committing = span, within, committing

    @contextmanager
    def step(self, name: Step, records: int) -> Generator[None]:
        attributes: dict[str, Any] = {"assay.records": records}
        if name == "commit":
            attributes |= self._committing
        kind = SpanKind.INTERNAL if name == "decode" else SpanKind.CLIENT
        with self._within(name, self._span, kind, attributes):
            yield

    def end(self, tally: Tally | None) -> None:
        if tally is None:
            self._span.set_status(Status(StatusCode.ERROR))
        else:
            for door in ("classified", "rejected", "duplicate"):
                self._span.set_attribute(f"assay.{door}", getattr(tally, door))
        self._span.end()


@contextmanager
def _current(span: Span) -> Generator[None]:
    """A span is the one of this thread or task, for its log lines as well."""
    found = span.get_span_context()
    token = context.attach(trace.set_span_in_context(span))
    try:
        if not found.trace_flags.sampled:  # nobody could look it up
            yield
            return
        with bound_contextvars(
            trace_id=trace.format_trace_id(found.trace_id),
            span_id=trace.format_span_id(found.span_id),
        ):
            yield
    finally:
        context.detach(token)


@contextmanager
def _failing(span: Span) -> Generator[None]:
    """Ends a span with the block, and notes the kind of what that raises."""
    try:
        yield
    except BaseException as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))
        raise
    finally:
        span.end()


def _links(chunk: Chunk) -> Generator[Link]:
    """A link to the trace of each record that has one."""
    for (partition, position), given in chunk.traced.items():
        found = trace.get_current_span(
            _W3C.extract({"traceparent": given}, context.Context())
        ).get_span_context()
        if found.is_valid:
            yield Link(
                found,
                {
                    "messaging.destination.partition.id": partition,
                    "messaging.kafka.offset": position,
                },
            )


def _messaging(operation: str, topic: str, messages: int) -> dict[str, Any]:
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": topic,
        "messaging.batch.message_count": messages,
    }


def _ratio() -> float:
    try:
        return min(1.0, max(0.0, float(os.environ["OTEL_TRACES_SAMPLER_ARG"])))
    except (KeyError, ValueError):
        return RATIO
