"""Spans, as an exporter gets them."""

import logging
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import anyio
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanContext, SpanKind, StatusCode
from structlog.contextvars import get_contextvars

from assay.domain.tally import Tally
from assay.ports.tracer import Tracer
from assay.testing.tracer import SENT, Told, TracerSuite
from assay_adapters.otel.export import Told as ToldOnce
from assay_adapters.otel.traces import Traces


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces(exporter: InMemorySpanExporter) -> Traces:
    """All is sampled."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Traces(provider, {"db.system.name": "postgresql"})


@pytest.fixture
def unsampled(exporter: InMemorySpanExporter) -> Traces:
    """Nothing is, unless a sender or caller says so."""
    provider = TracerProvider(ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Traces(provider, {})


def named(found: SpanContext | None) -> str:
    """A span, as it stands in a `traceparent`."""
    assert found is not None
    return f"{found.trace_id:032x}-{found.span_id:016x}"


def facts(span: ReadableSpan) -> Mapping[str, Any]:
    return span.attributes or {}


class TestTraces(TracerSuite):
    @pytest.fixture
    def tracer(self, traces: Traces, exporter: InMemorySpanExporter) -> Tracer:
        self.exporter = exporter
        return traces

    def told(self, tracer: Tracer) -> Told:
        assert tracer is not None
        *steps, chunk = self.exporter.get_finished_spans()
        assert {named(each.parent) for each in steps} == {named(chunk.get_span_context())}
        return Told(
            {f"00-{named(each.context)}-01" for each in chunk.links},
            [
                (each.name, facts(each)["assay.records"], facts(each).get("error.type"))
                for each in steps
                if each.name != "read"
            ],
            None
            if chunk.status.status_code is StatusCode.ERROR
            else {
                door: facts(chunk)[f"assay.{door}"]
                for door in ("classified", "rejected", "duplicate")
            },
        )

    def test_a_chunk_is_named_as_the_conventions_have_it(self, tracer: Tracer) -> None:
        """A batch of messages that are processed, from when its source was waited for."""
        trace = self.begin(tracer, {("0", 5): SENT})
        with trace.step("commit", 0):
            pass
        trace.end(Tally())
        read, commit, chunk = self.exporter.get_finished_spans()
        assert (chunk.name, chunk.kind, chunk.parent) == ("process topic", SpanKind.CONSUMER, None)
        assert facts(chunk) == {
            "assay.run_id": "run-1",
            "assay.source": "kafka/topic",
            "assay.records": 0,
            "assay.ranges": ("0: 5-9",),
            "messaging.system": "kafka",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": "topic",
            "messaging.batch.message_count": 0,
            "messaging.destination.partition.id": "0",
            "assay.classified": 0,
            "assay.rejected": 0,
            "assay.duplicate": 0,
        }
        (link,) = chunk.links
        assert link.attributes == {
            "messaging.destination.partition.id": "0",
            "messaging.kafka.offset": 5,
        }
        assert (read.end_time or 0) - (read.start_time or 0) == 500_000_000
        assert read.start_time == chunk.start_time
        assert (commit.kind, facts(commit)["db.system.name"]) == (SpanKind.CLIENT, "postgresql")

    def test_links_are_bounded(self, tracer: Tracer) -> None:
        """Where a sender traces all of a chunk, a few of its messages say enough."""
        self.begin(tracer, {("0", offset): SENT for offset in range(1_000)}).end(Tally())
        assert len(self.exporter.get_finished_spans()[-1].links) == 32


def test_what_a_sampled_message_is_part_of_is_sampled(
    unsampled: Traces, exporter: InMemorySpanExporter
) -> None:
    """With all of its steps; other chunks are as rare as they are set to be."""
    suite = TestTraces()
    suite.begin(unsampled).end(Tally())
    assert exporter.get_finished_spans() == ()
    trace = suite.begin(unsampled, {("0", 5): SENT})
    with trace.step("commit", 1):
        pass
    trace.end(Tally())
    assert [each.name for each in exporter.get_finished_spans()] == [
        "read",
        "commit",
        "process topic",
    ]
    unlike = SENT[:-1] + "0"
    suite.begin(unsampled, {("0", 5): unlike}).end(Tally())
    assert len(exporter.get_finished_spans()) == 3


def test_a_step_is_current_where_it_is_taken(
    traces: Traces, exporter: InMemorySpanExporter
) -> None:
    """For the requests made in it, and its log lines; afterwards nothing is."""
    trace = TestTraces().begin(traces)
    with trace.step("classify", 1):
        headers, bound = traces.headers(), get_contextvars()
    span = named(exporter.get_finished_spans()[-1].get_span_context())
    assert span in headers["traceparent"]
    assert f"{bound['trace_id']}-{bound['span_id']}" == span
    assert (traces.headers(), get_contextvars()) == ({}, {})


def test_what_is_not_sampled_says_so_to_the_api_and_to_no_topic(unsampled: Traces) -> None:
    """The API need not decide anew; log lines name no trace that nobody could look up."""
    with TestTraces().begin(unsampled).step("classify", 1):
        assert unsampled.headers()["traceparent"][-1] in "02468ace"
        assert get_contextvars() == {}
    with unsampled.sending("topic", 5) as headers:
        assert headers == {}


def test_what_is_sent_carries_the_span_of_its_sending(
    traces: Traces, exporter: InMemorySpanExporter
) -> None:
    """One header for all messages that are handed over at once."""
    with traces.sending("topic", 2_000) as headers:
        pass
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("send topic", SpanKind.PRODUCER)
    assert facts(span)["messaging.batch.message_count"] == 2_000
    assert named(span.get_span_context()) in headers["traceparent"]


# ---------------------------------------------------------------- who answers


async def _answers(scope: Any, _: Any, send: Any) -> None:
    if scope["path"] == "/fails":
        raise ValueError("a purchase")
    status = 503 if scope["path"] == "/busy" else 200
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _ask(traces: Traces, path: str, *, method: str = "POST", traceparent: str = SENT) -> None:
    async def nothing(*_: object) -> dict[str, Any]:
        return {}

    async def call() -> None:
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "scheme": "http",
            "headers": [(b"traceparent", traceparent.encode())],
        }
        await traces.served(_answers)(scope, nothing, nothing)  # type: ignore[arg-type]

    anyio.run(call)


def test_a_request_is_part_of_its_callers_trace(
    traces: Traces, exporter: InMemorySpanExporter
) -> None:
    """Who only looks whether it is well leaves no trace."""
    _ask(traces, "/predict")
    _ask(traces, "/health/live", method="GET")
    (span,) = exporter.get_finished_spans()
    assert (span.name, span.kind) == ("POST", SpanKind.SERVER)
    assert named(span.parent) in SENT
    assert facts(span) == {
        "http.request.method": "POST",
        "url.path": "/predict",
        "url.scheme": "http",
        "http.response.status_code": 200,
    }


def test_a_request_that_fails_is_marked(traces: Traces, exporter: InMemorySpanExporter) -> None:
    """By its status or what was raised, whose message is not told."""
    _ask(traces, "/busy")
    with pytest.raises(ValueError, match="a purchase"):
        _ask(traces, "/fails")
    busy, fails = exporter.get_finished_spans()
    assert (facts(busy)["error.type"], facts(fails)["error.type"]) == ("503", "ValueError")
    assert {busy.status.status_code, fails.status.status_code} == {StatusCode.ERROR}
    assert "a purchase" not in fails.to_json()


def test_a_caller_that_is_not_sampled_is_not(
    unsampled: Traces, exporter: InMemorySpanExporter
) -> None:
    """And one that is, is, whatever the API would do by itself."""
    _ask(unsampled, "/predict", traceparent=SENT[:-1] + "0")
    _ask(unsampled, "/predict", traceparent="nonsense")
    assert exporter.get_finished_spans() == ()
    _ask(unsampled, "/predict")
    assert len(exporter.get_finished_spans()) == 1


# ---------------------------------------------------------------- a collector that is away


class _Collector(SpanExporter):
    def __init__(self, results: Sequence[bool]) -> None:
        self.results = list(results)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        logging.getLogger("opentelemetry.exporter").error("again")
        return SpanExportResult.SUCCESS if self.results.pop(0) else SpanExportResult.FAILURE


def test_a_collector_that_is_away_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Once when it goes, and once when it is back, whatever is lost in between."""
    exporter = ToldOnce(_Collector([True, False, False, False, True, True, False]))
    with structlog.testing.capture_logs() as lines:
        for _ in range(7):
            exporter.export(())
    assert [each["log_level"] for each in lines] == ["warning", "info", "warning"]
    assert caplog.records == []


def test_the_end_waits_for_no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes connections and says nothing costs three seconds, once; spans cost nobody."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "20")
        traces = Traces.exported("test", {})
        began = time.monotonic()
        for _ in range(10_000):  # five times what the queue holds
            with traces.sending("topic", 1):
                pass
        made = time.monotonic() - began
        began = time.monotonic()
        traces.close()
        ended = time.monotonic() - began
    assert made < 5
    assert 2 < ended < 4
