"""What a service is given to be traced by, from its start to its end."""

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from assay.domain.errors import Fatal
from assay.ports.tracer import Tracer
from assay_adapters.otel.config import OtelConfig


def _untraced(*_: object) -> AbstractContextManager[Mapping[str, str]]:
    return nullcontext({})


@dataclass(frozen=True)
class Tracing:
    """By whom a service is traced; as it stands, by nobody, at the cost of a call.

    Attributes:
        tracer: of the pump's chunks.
        headers: of a request that is made just now.
        sending: told a topic and a number of messages that are handed over in its block, gives the
            headers of one of them: none, unless that is sampled.
        step: of whatever is traced just now, for as long as its block lasts.
        served: an ASGI application, each POST to which is traced.
    """

    tracer: Tracer | None = None
    headers: Callable[[], Mapping[str, str]] = dict
    sending: Callable[[str, int], AbstractContextManager[Mapping[str, str]]] = _untraced
    step: Callable[[str], AbstractContextManager[object]] = nullcontext
    served: Callable[[Any], Any] = lambda app: app


@contextmanager
def tracing(
    config: OtelConfig, service: str, committing: Mapping[str, str] | None = None
) -> Generator[Tracing]:
    """Traces a service for as long as the block lasts; what is left then has a moment to go out.

    Args:
        config: whether.
        service: what it is called, where OpenTelemetry's variables do not say so.
        committing: attributes of the step `commit`.

    Raises:
        Fatal: it is to be traced, and the packages are missing.
    """
    if not config.traces:
        yield Tracing()
        return
    try:
        from assay_adapters.otel.traces import Traces  # noqa: PLC0415 - who wants none waits for none of it
    except ModuleNotFoundError as error:
        raise Fatal(
            f"ASSAY_OTEL__TRACES needs the package {error.name}: pip install 'assay-adapters[otel]'"
        ) from None
    traces = Traces.exported(service, committing or {})
    try:
        yield Tracing(traces, traces.headers, traces.sending, traces.step, traces.served)
    finally:
        traces.close()
