"""Targets of connectors on real servers: where they are, what they hold, and how they go away."""

import json
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import polars as pl
import pytest
from deltalake import DeltaTable
from streams import Stream

from assay_local import Local

NAMES = ("postgres", "archive", "lake", "search", "series", "webhook")
"""All that come with Assay."""


_IMPATIENT = {"ASSAY_S3__READ_TIMEOUT": "2"}


@dataclass
class Kept:
    """Where a connector takes predictions to.

    Attributes:
        name: of the connector.
        environment: what it reads besides the stream's settings.
        held: what is there, by id and how often; by category where ids are not kept.
        by: which of the two, as a message of predictions names it.
        gone: for as long as the block lasts nobody is there.
    """

    name: str
    environment: dict[str, str]
    held: Callable[[], Counter[str]]
    gone: Callable[[], Any]
    by: str = "transaction_id"

    def wanted(self, predictions: list[dict[str, Any]]) -> Counter[str]:
        """What is to be there of these, each once."""
        return Counter(each[self.by] for each in predictions)


def ask(url: str, body: object = None, method: str | None = None) -> Any:
    """What a server answers in JSON.

    Raises:
        HTTPError: it refuses.
    """
    data = None if body is None else json.dumps(body).encode()
    head = {"content-type": "application/json"}
    request = Request(url, data, head, method=method)  # noqa: S310 - our own
    with urlopen(request, timeout=10) as answer:  # noqa: S310 - the same
        return json.load(answer)


@dataclass
class Listener:
    """Takes what a webhook is told.

    Attributes:
        told: by webhook-id, the transaction's id, of each request that came.
        answer: the status that it answers for an id.
    """

    told: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    answer: Callable[[str], int] = lambda _: 204
    url: str = ""
    is_gone: bool = False
    lock: Lock = field(default_factory=Lock)

    @contextmanager
    def gone(self) -> Generator[None]:
        """Connections are cut without an answer."""
        self.is_gone = True
        yield
        self.is_gone = False

    def held(self) -> Counter[str]:
        """Requests with one webhook-id are one."""
        with self.lock:
            return Counter(name for _, name in set(self.told))


@contextmanager
def listening() -> Generator[Listener]:
    """One on 127.0.0.1."""
    state = Listener()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if state.is_gone:
                self.close_connection = True
                return
            name = json.loads(body)["data"]["transaction_id"]
            status = state.answer(name)
            if status < 300:
                with state.lock:
                    state.told.append((self.headers["webhook-id"], name))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is there
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    """Who is told by the webhook."""
    with listening() as state:
        yield state


@pytest.fixture
def kept(request: pytest.FixtureRequest, stream: Stream, local: Local) -> Kept:
    """The target that the test is for, on an empty place of its own."""
    make: dict[str, Callable[[], Kept]] = {
        "postgres": lambda: _postgres(stream, local),
        "archive": lambda: _archive(stream, local),
        "lake": lambda: _lake(stream, local),
        "search": lambda: _search(stream, local),
        "series": lambda: _series(stream, local),
        "webhook": lambda: _webhook(request.getfixturevalue("listener")),
    }
    return make[request.param]()


def _off(server: Any) -> Callable[[], Any]:
    @contextmanager
    def gone() -> Generator[None]:
        server.kill()
        yield
        server.start()

    return gone


def _paused(server: Any) -> Callable[[], Any]:
    """Silent: what is there is in its memory."""

    @contextmanager
    def gone() -> Generator[None]:
        server.pause()
        yield
        server.resume()

    return gone


def _postgres(stream: Stream, local: Local) -> Kept:
    def held() -> Counter[str]:
        return Counter(
            name for (name,) in stream.system.query("SELECT transaction_id FROM transactions")
        )

    return Kept("postgres", {}, held, _off(local.postgres))


def _archive(stream: Stream, local: Local) -> Kept:
    uri = stream.system.uri("archive/")

    def held() -> Counter[str]:
        objects, found = stream.system.objects, Counter[str]()
        for each in objects.list(uri):
            found.update(pl.read_parquet(b"".join(objects.read(each)))["transaction_id"])
        return found

    return Kept("archive", {"ASSAY_ARCHIVE__URI": uri, **_IMPATIENT}, held, _paused(local.s3))


def _lake(stream: Stream, local: Local) -> Kept:
    uri, system = stream.system.uri("lake"), stream.system.environment
    storage = {
        "endpoint_url": system["ASSAY_S3__ENDPOINT_URL"],
        "aws_access_key_id": system["ASSAY_S3__ACCESS_KEY_ID"],
        "aws_secret_access_key": system["ASSAY_S3__SECRET_ACCESS_KEY"],
        "region": system["ASSAY_S3__REGION"],
        "allow_http": "true",
    }

    def held() -> Counter[str]:
        if not DeltaTable.is_deltatable(uri, storage):
            return Counter()
        return Counter(pl.read_delta(uri, storage_options=storage)["transaction_id"])

    return Kept("lake", {"ASSAY_LAKE__URI": uri, **_IMPATIENT}, held, _paused(local.s3))


def _search(stream: Stream, local: Local) -> Kept:
    local.opensearch.start()
    url, index = local.opensearch.url, stream.name

    def held() -> Counter[str]:
        try:
            ask(f"{url}/{index}/_refresh", {})
        except HTTPError:  # not made yet
            return Counter()
        found = ask(f"{url}/{index}/_search", {"size": 10_000, "_source": False})
        return Counter(each["_id"] for each in found["hits"]["hits"])

    settings = {"ASSAY_SEARCH__URL": url, "ASSAY_SEARCH__INDEX": index}
    return Kept("search", settings, held, _off(local.opensearch))


def _series(stream: Stream, local: Local) -> Kept:
    local.questdb.start()
    settings = {**local.questdb.settings, "ASSAY_SERIES__MEASUREMENT": stream.name}
    base = settings["ASSAY_SERIES__URL"].removesuffix("/write")

    def held() -> Counter[str]:
        query = f'SELECT category, sum(count) FROM "{stream.name}"'  # noqa: S608 - our own name
        try:
            found = ask(f"{base}/exec?query={quote(query)}")
        except HTTPError:  # not made yet
            return Counter()
        return Counter({name: number for name, number in found["dataset"] if number})

    return Kept("series", settings, held, _off(local.questdb), by="category")


def _webhook(listener: Listener) -> Kept:
    settings = {
        "ASSAY_WEBHOOK__URL": listener.url,
        "ASSAY_WEBHOOK__SECRET": "a secret of the tests",
    }
    return Kept("webhook", settings, listener.held, listener.gone)


def settled(held: Callable[[], Counter[str]], wanted: Counter[str], seconds: float = 30) -> None:
    """Waits until a target shows what it was given: some do so a moment later."""
    until = time.monotonic() + seconds
    while (found := held()) != wanted:
        assert time.monotonic() < until, (found - wanted, wanted - found)
        time.sleep(0.1)
