"""The numbers of a service that has no HTTP server of its own."""

from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import start_http_server

from assay.domain.errors import Fatal
from assay_adapters.prometheus.meter import PrometheusMeter


@contextmanager
def exposed(meter: PrometheusMeter, host: str, port: int) -> Generator[int]:
    """Answers `GET /metrics` while the block runs.

    Args:
        meter: whose values are exposed.
        host: the address to listen on.
        port: 0 takes a free one.

    Yields:
        The port that it listens on.

    Raises:
        Fatal: the address cannot be listened on.
    """
    try:
        server, thread = start_http_server(port, host, meter.registry)
    except (OSError, OverflowError) as error:
        raise Fatal(f"cannot expose metrics on {host}:{port}: {error}") from None
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
