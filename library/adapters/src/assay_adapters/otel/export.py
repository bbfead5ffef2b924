"""Sends spans to a collector, which may be away: it is told of once, and nobody waits."""

import logging
from collections.abc import Sequence
from typing import Any, Final

import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

_log: Any = structlog.get_logger(__name__)
_OWN: Final = ("opentelemetry", "urllib3.connectionpool")


class Told(SpanExporter):
    """An exporter that says once that spans are lost, and once that they are not any more."""

    def __init__(self, inner: SpanExporter) -> None:
        """Silences the libraries below, which say it for each attempt."""
        self._inner, self._is_away = inner, False
        for name in _OWN:
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Sends spans."""
        result = self._inner.export(spans)
        is_away = result is not SpanExportResult.SUCCESS
        if is_away and not self._is_away:
            _log.warning("no collector takes the traces: they are dropped until one does")
        elif self._is_away and not is_away:
            _log.info("a collector takes the traces again")
        self._is_away = is_away
        return result

    def shutdown(self) -> None:
        """Ends what is under way."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return self._inner.force_flush(timeout_millis)
