"""A server in the model API's place that answers however a test wants it to."""

import json
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

import polars as pl

from assay.domain.taxonomy import DEFAULT
from assay.wire import arrow

Answer: TypeAlias = dict[str, Any]
"""What is said of one record, as the API's JSON says it."""


_ABOUT = {
    "name": "impostor",
    "version": "1",
    "taxonomy": {"categories": list(DEFAULT.categories)},
}


@dataclass(frozen=True)
class Reply:
    """A whole answer.

    Attributes:
        cut: how much of the body is left away, though its length is told.
        silence: whether nothing is answered for as long as the server lives.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    cut: int = 0
    silence: bool = False


Behaviour: TypeAlias = Callable[[list[str]], list[Answer] | Reply]
"""From the ids of a question to its answer."""


def answers(ids: Sequence[str]) -> list[Answer]:
    """Good answers, each of which tells by itself which record it belongs to."""
    return [
        {
            "transaction_id": each,
            "category": DEFAULT.categories[number_of(each) % len(DEFAULT.categories)],
            "confidence_score": number_of(each) / 1_000,
            "needs_review": number_of(each) < 500,
            "model_name": "impostor",
            "model_version": "1",
        }
        for each in ids
    ]


def number_of(transaction_id: str) -> int:
    """The number at the end of an id."""
    return int(transaction_id.rpartition("-")[2])


@dataclass
class Impostor:
    """The server.

    Attributes:
        behaviour: what it answers.
        asked: when it was asked, and about which ids.
        healthy: what it says of itself.
        released: ends every silence.
    """

    url: str = ""
    behaviour: Behaviour = answers
    asked: list[tuple[float, list[str]]] = field(default_factory=list[tuple[float, list[str]]])
    healthy: bool = True
    released: threading.Event = field(default_factory=threading.Event)


def whole(found: list[Answer], content_type: str) -> Reply:
    """Answers as a body, good or not."""
    if content_type == arrow.CONTENT_TYPE:
        frame = pl.DataFrame([_row(each) for each in found], schema=arrow.ANSWERS)
        body = arrow.write_verdicts(frame)
    else:
        body = json.dumps(found).encode()
    return Reply(headers={"content-type": content_type}, body=body)


def _row(answer: Answer) -> Answer:
    error = answer.get("error")
    if error is not None:
        status = "retry" if error["retriable"] else "reject"
        return {
            "transaction_id": answer["transaction_id"],
            "status": status,
            "code": error["code"],
        }
    row = {name: answer.get(name) for name in arrow.ANSWERS if name in answer}
    return {"status": "ok", "confidence": answer.get("confidence_score"), **row}


@contextmanager
def impostor() -> Generator[Impostor]:
    """Runs one on 127.0.0.1."""
    state = Impostor()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are sent apart

        def do_GET(self) -> None:
            body = json.dumps(_ABOUT if self.path == "/model" else {}).encode()
            self.send_response_only(200 if state.healthy else 503)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            content_type = self.headers["content-type"]
            if content_type == arrow.CONTENT_TYPE:
                ids = arrow.read_transactions(body)["transaction_id"].to_list()
            else:
                ids = [each["transaction_id"] for each in json.loads(body)]
            state.asked.append((time.monotonic(), ids))
            found = state.behaviour(ids)
            reply = found if isinstance(found, Reply) else whole(found, content_type)
            if reply.silence:
                state.released.wait()
                self.close_connection = True
                return
            self.send_response_only(reply.status)
            for name, value in ({"content-length": str(len(reply.body))} | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body[: len(reply.body) - reply.cut])
            self.close_connection = self.close_connection or reply.cut > 0

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the base has it
            """Says nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        listener.daemon_threads = True
        state.url = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            state.released.set()
            listener.shutdown()
            thread.join()
