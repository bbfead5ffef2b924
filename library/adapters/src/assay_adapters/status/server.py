"""Health and metrics of a service that has no HTTP server of its own."""

import json
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

from assay.domain.errors import Fatal

Condition: TypeAlias = Callable[[], tuple[bool, Mapping[str, Any]]]
"""Whether a service is well, and what explains it, as JSON has it."""

_JSON = "application/json"
_LOOK = 0.05  # seconds until it is noticed that the block has ended


@contextmanager
def served(
    host: str,
    port: int,
    *,
    alive: Condition,
    ready: Condition,
    metrics: Callable[[], bytes],
    metrics_type: str,
) -> Generator[str]:
    """Answers `GET /health/live`, `/health/ready` and `/metrics` while the block runs.

    Health is 200 or 503, with the explanation as JSON. The callables are called in other threads.

    Args:
        host: the address to listen on.
        port: 0 takes a free one.
        alive: whether the service gets on; a supervisor restarts one that does not.
        ready: whether it does its work just now.
        metrics: the values, in the format that `metrics_type` names.
        metrics_type: their content type.

    Yields:
        The URL that it answers at.

    Raises:
        Fatal: the address cannot be listened on.
    """

    def answer(path: str) -> tuple[HTTPStatus, str, bytes]:
        conditions = {"/health/live": alive, "/health/ready": ready}
        if path == "/metrics":
            return HTTPStatus.OK, metrics_type, metrics()
        if path not in conditions:
            known = [*conditions, "/metrics"]
            return HTTPStatus.NOT_FOUND, _JSON, json.dumps({"paths": known}).encode()
        is_well, why = conditions[path]()
        status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
        return status, _JSON, json.dumps(dict(why)).encode()

    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # seconds of silence after which a connection is given up

        def handle(self) -> None:
            # Whoever asked has given up; the base class would print where that was noticed.
            with suppress(BrokenPipeError, ConnectionResetError):
                super().handle()

        def do_GET(self) -> None:
            status, content_type, body = answer(self.path.partition("?")[0])
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called
            """Nothing: probes come every few seconds."""

    try:
        server = ThreadingHTTPServer((host, port), Handler)
    except (OSError, OverflowError) as error:
        raise Fatal(f"cannot listen on {host}:{port}: {error}") from None
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, args=(_LOOK,), name="status", daemon=True
    )
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
