"""A real HTTP server that answers however a test wants it to."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Question:
    """A request as it came."""

    method: str
    path: str
    headers: Message
    body: bytes


@dataclass
class Reply:
    """What to answer.

    Attributes:
        raw: instead of all else, these bytes, after which the connection is closed.
    """

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    raw: bytes | None = None


@dataclass
class Server:
    """The server; `reply` says what it answers, `questions` what it was asked.

    Attributes:
        connections: how many were opened.
        released: ends every silence.
    """

    reply: Callable[[Question], Reply] = lambda _: Reply()
    questions: list[Question] = field(default_factory=list[Question])
    connections: int = 0
    released: threading.Event = field(default_factory=threading.Event)
    url: str = ""


@contextmanager
def answering() -> Generator[Server]:
    """A server on 127.0.0.1."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            state.connections += 1

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            question = Question(self.command, self.path, self.headers, body)
            state.questions.append(question)
            reply = state.reply(question)
            if reply.raw is not None:
                self.wfile.write(reply.raw)
                self.close_connection = True
                return
            self.send_response_only(reply.status)
            headers = {"content-length": str(len(reply.body))} | reply.headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)

        do_GET = do_POST = do_PUT = answer  # noqa: N815 - the base class names them

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
        yield state
        state.released.set()
        listener.shutdown()
        thread.join()
