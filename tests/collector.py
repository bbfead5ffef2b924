"""A collector of OpenTelemetry: takes spans by OTLP over HTTP, and keeps them."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from receiver import Reply, receiver


@dataclass(frozen=True)
class Span:
    """One span.

    Attributes:
        links: ids of spans.
    """

    service: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    links: tuple[str, ...]
    attributes: dict[str, Any]
    seconds: float


@dataclass
class Collector:
    """What has come so far."""

    url: str
    spans: list[Span] = field(default_factory=list[Span])

    @property
    def environment(self) -> dict[str, str]:
        """What has a service send all spans here."""
        return {
            "ASSAY_OTEL__TRACES": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.url,
            "OTEL_TRACES_SAMPLER_ARG": "1",
        }

    def named(self, service: str, name: str | None = None) -> list[Span]:
        """Those of a service, or the ones of a name."""
        return [
            each for each in self.spans if each.service == service and name in {None, each.name}
        ]


def _spans(body: bytes) -> Generator[Span]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        about = {each.key: each.value.string_value for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            for each in scope.spans:
                yield Span(
                    about["service.name"],
                    each.name,
                    each.kind,
                    each.trace_id.hex(),
                    each.span_id.hex(),
                    each.parent_span_id.hex(),
                    tuple(link.span_id.hex() for link in each.links),
                    {
                        given.key: getattr(given.value, given.value.WhichOneof("value") or "")
                        for given in each.attributes
                    },
                    (each.end_time_unix_nano - each.start_time_unix_nano) / 1e9,
                )


@contextmanager
def collector() -> Generator[Collector]:
    """A collector, for as long as the block lasts."""
    kept = Collector("")

    def take(_: str, body: bytes) -> Reply:
        kept.spans.extend(_spans(body))
        answer = ExportTraceServiceResponse().SerializeToString()
        return Reply(200, answer, "application/x-protobuf")

    with receiver(take) as kept.url:
        yield kept
