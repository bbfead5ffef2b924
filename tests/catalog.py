"""A catalog of data: takes OpenLineage's events over HTTP, and keeps them."""

import gzip
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Catalog:
    """What has come so far."""

    url: str
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def environment(self) -> dict[str, str]:
        """What has a run tell of itself here."""
        return {"ASSAY_OPENLINEAGE__EVENTS": "true", "OPENLINEAGE_URL": self.url}

    @property
    def states(self) -> list[str]:
        """What has happened, in order."""
        return [each["eventType"] for each in self.events]


@contextmanager
def catalog() -> Generator[Catalog]:
    """A catalog, for as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            assert self.path == "/api/v1/lineage"
            kept.events.append(json.loads(body))
            self.send_response(201)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept = Catalog(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
