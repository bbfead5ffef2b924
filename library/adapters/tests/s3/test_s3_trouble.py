"""What S3 and the way to it may do, and what becomes of it."""

import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, repeat
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pydantic import HttpUrl, SecretStr, ValidationError

from assay.domain.errors import Denied, Fatal, Replaced, Unavailable, Unreadable
from assay.ports.objects import Object
from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects

MIB = 1 << 20
BODY = bytes(range(256)) * 4 * 8 * 1024
"""8 MiB."""


@dataclass
class Proxy:
    """Hands connections through to an upstream, each up to a number of bytes of its answers.

    Attributes:
        cuts: bytes that the next connections may bring, first to last; None for no limit, which
            is also what those get for which nothing is left.
        opened: how many connections there were.
    """

    upstream: tuple[str, int]
    cuts: list[int | None] = field(default_factory=list[int | None])
    opened: int = 0
    before_cut: Callable[[], object] = lambda: None

    def __post_init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Refuses new connections."""
        with suppress(OSError):
            self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self.server.accept()
                self.opened += 1
                limit = self.cuts.pop(0) if self.cuts else None
                threading.Thread(target=self._serve, args=(near, limit), daemon=True).start()

    def _serve(self, near: socket.socket, limit: int | None) -> None:
        with near, socket.create_connection(self.upstream) as far:
            threading.Thread(target=_pump, args=(near, far), daemon=True).start()
            left = limit
            with suppress(OSError):
                while block := far.recv(65_536 if left is None else min(left, 65_536)):
                    near.sendall(block)
                    if left is not None:
                        left -= len(block)
                        if left == 0:
                            self.before_cut()
                            break
            for end in (near, far):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while block := source.recv(65_536):
            target.sendall(block)


@pytest.fixture
def proxy(s3_config: S3Config) -> Iterator[Proxy]:
    """A way to the running S3 that can be cut."""
    upstream = urlsplit(str(s3_config.endpoint_url))
    assert upstream.hostname
    assert upstream.port
    proxy = Proxy((upstream.hostname, upstream.port))
    yield proxy
    proxy.close()


@pytest.fixture
def behind_proxy(proxy: Proxy, s3_config: S3Config) -> S3Objects:
    """The adapter, on a way that can be cut."""
    endpoint = HttpUrl(f"http://127.0.0.1:{proxy.port}")
    return S3Objects(s3_client(s3_config.model_copy(update={"endpoint_url": endpoint})))


@dataclass(frozen=True)
class Answer:
    """What a made-up server says."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@pytest.fixture
def answering(s3_config: S3Config) -> Iterator[Callable[[Answer], S3Objects]]:
    """The adapter before a server that says one and the same to everything."""
    with ExitStack() as stack:

        def start(answer: Answer) -> S3Objects:
            port = stack.enter_context(_made_up(answer))
            endpoint = HttpUrl(f"http://127.0.0.1:{port}")
            return S3Objects(s3_client(s3_config.model_copy(update={"endpoint_url": endpoint})))

        yield start


@contextmanager
def _made_up(answer: Answer) -> Generator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        do_GET = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815 - names that the base asks for

        def log_message(self, format: str, *_: Any) -> None:  # noqa: A002 - the base's own name
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize("kind", ["bucket", "versioned"])
def test_a_read_goes_on_where_it_broke(
    objects: S3Objects,
    behind_proxy: S3Objects,
    proxy: Proxy,
    request: pytest.FixtureRequest,
    kind: str,
) -> None:
    """Cut again and again, once within the headers, the bytes are exact."""
    bucket = request.getfixturevalue(kind)
    item = objects.write(f"s3://{bucket}/a.bin", BODY)
    proxy.cuts = [1_500_000, 100, 700_001, 5_000, None]
    assert b"".join(behind_proxy.read(item, 12_345)) == BODY[12_345:]
    assert not proxy.cuts
    assert proxy.opened == 5


def test_a_break_may_happen_in_every_block(
    objects: S3Objects, behind_proxy: S3Objects, proxy: Proxy, bucket: str
) -> None:
    """As long as it goes on, patience begins anew."""
    item = objects.write(f"s3://{bucket}/a.bin", BODY)
    proxy.cuts = list(repeat(MIB + 100_000, 12))
    assert b"".join(behind_proxy.read(item)) == BODY


def test_a_version_that_is_replaced_at_the_break_is_gone(
    objects: S3Objects, behind_proxy: S3Objects, proxy: Proxy, bucket: str
) -> None:
    """No byte of the other object is handed out."""
    uri = f"s3://{bucket}/a.bin"
    item = objects.write(uri, BODY)
    proxy.cuts = [3 * MIB]
    proxy.before_cut = lambda: objects.write(uri, bytes(len(BODY)))
    reading = behind_proxy.read(item)
    assert b"".join(islice(reading, 2)) == BODY[: 2 * MIB]
    with pytest.raises(Replaced):
        b"".join(reading)


def test_a_version_with_an_id_is_read_on_when_it_is_replaced(
    objects: S3Objects, behind_proxy: S3Objects, proxy: Proxy, versioned: str
) -> None:
    """It has lost its name, not its bytes."""
    uri = f"s3://{versioned}/a.bin"
    item = objects.write(uri, BODY)
    proxy.cuts = [3 * MIB]
    proxy.before_cut = lambda: objects.write(uri, bytes(len(BODY)))
    assert b"".join(behind_proxy.read(item)) == BODY


def test_a_read_gives_up_in_the_end(
    objects: S3Objects, behind_proxy: S3Objects, proxy: Proxy, bucket: str
) -> None:
    """After some tries without a byte."""
    item = objects.write(f"s3://{bucket}/a.bin", BODY)
    proxy.cuts = [3 * MIB, *repeat(200, 100)]
    began = time.monotonic()
    with pytest.raises(Unavailable):
        list(behind_proxy.read(item))
    assert time.monotonic() - began < 30
    assert proxy.opened == 5


def test_a_way_that_is_lost_for_good_makes_a_read_give_up(
    objects: S3Objects, behind_proxy: S3Objects, proxy: Proxy, bucket: str
) -> None:
    """Connections are refused from some byte on."""
    item = objects.write(f"s3://{bucket}/a.bin", BODY)
    proxy.cuts = [3 * MIB]
    proxy.before_cut = proxy.close
    with pytest.raises(Unavailable, match=f"s3://{bucket}/a.bin"):
        list(behind_proxy.read(item))


def test_an_endpoint_that_is_away_is_noticed_soon(s3_config: S3Config) -> None:
    """Every method says so within some seconds; whoever calls has patience of its own."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    endpoint = HttpUrl(f"http://127.0.0.1:{port}")
    objects = S3Objects(s3_client(s3_config.model_copy(update={"endpoint_url": endpoint})))
    for call in _every_method(objects):
        began = time.monotonic()
        with pytest.raises(Unavailable):
            call()
        assert time.monotonic() - began < 5


def test_silence_is_an_outage(s3_config: S3Config) -> None:
    """A server that takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = HttpUrl(f"http://127.0.0.1:{silent.getsockname()[1]}")
        settings = {"endpoint_url": endpoint, "read_timeout": 0.2}
        objects = S3Objects(s3_client(s3_config.model_copy(update=settings)))
        with pytest.raises(Unavailable):
            list(objects.list("s3://bucket/in/"))


def _error(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>made up</Message></Error>".encode()


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (408, "RequestTimeout"),
        (400, "RequestTimeout"),
        (409, "ConditionalRequestConflict"),
        (409, "OperationAborted"),
        (429, "TooManyRequests"),
        (500, "InternalError"),
        (502, "BadGateway"),
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (504, "GatewayTimeout"),
    ],
)
def test_what_passes_is_unavailable(
    answering: Callable[[Answer], S3Objects], status: int, code: str
) -> None:
    """By status or code."""
    objects = answering(Answer(status, _error(code)))
    with pytest.raises(Unavailable, match=f"s3://bucket/a.csv .*{code}"):
        list(objects.read(ITEM))


def test_an_outage_is_told_by_every_method(answering: Callable[[Answer], S3Objects]) -> None:
    """None of them takes it for an empty bucket or a missing object."""
    for call in _every_method(answering(Answer(503))):
        with pytest.raises(Unavailable):
            call()


@pytest.mark.parametrize(("said", "seconds"), [("17", 17.0), ("soon", None)])
def test_s3_may_say_how_long_to_wait(
    answering: Callable[[Answer], S3Objects], said: str, seconds: float | None
) -> None:
    """`Retry-After` in seconds is handed on."""
    objects = answering(Answer(503, _error("SlowDown"), {"Retry-After": said}))
    with pytest.raises(Unavailable) as caught:
        objects.write("s3://bucket/a.csv", b"")
    assert caught.value.retry_after == seconds


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "AccessDenied", "ASSAY_S3__ACCESS_KEY_ID"),
        (403, "InvalidAccessKeyId", "ASSAY_S3__ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "ASSAY_S3__SECRET_ACCESS_KEY"),
        (403, "RequestTimeTooSkewed", "clock"),
        (400, "ExpiredToken", "ASSAY_S3__SESSION_TOKEN"),
        (404, "NoSuchBucket", "create it"),
        (400, "AuthorizationHeaderMalformed", "ASSAY_S3__REGION"),
        (400, "SomethingNew", "ASSAY_S3__ENDPOINT_URL"),
        (501, "NotImplemented", "lacks"),
    ],
)
def test_what_waiting_does_not_help_is_fatal(
    answering: Callable[[Answer], S3Objects], status: int, code: str, advice: str
) -> None:
    """It says what happened where, and what to do; never the secret."""
    objects = answering(Answer(status, _error(code)))
    for call in (
        lambda: objects.write("s3://bucket/a.csv", b""),
        lambda: list(objects.read(ITEM)),
        lambda: list(objects.list("s3://bucket/in/")),
    ):
        with pytest.raises(Fatal, match=f"s3://bucket/.*{code}.*{advice}") as caught:
            call()
        assert not isinstance(caught.value, Unreadable) or code == "AccessDenied"


@pytest.mark.parametrize("status", [400, 403])
def test_what_is_denied_without_a_word_is_fatal(
    answering: Callable[[Answer], S3Objects], status: int
) -> None:
    """An answer to a look at one object has no body."""
    objects = answering(Answer(status))
    with pytest.raises(Fatal, match="ASSAY_S3__"):
        list(objects.list("s3://bucket/a.csv"))
    with pytest.raises(Fatal, match="ASSAY_S3__"):
        objects.move(ITEM, "s3://bucket/archive/a.csv")


def test_an_object_that_may_not_be_read_is_denied(
    answering: Callable[[Answer], S3Objects],
) -> None:
    """It alone; that nothing may be listed or written is a matter of settings."""
    objects = answering(Answer(403, _error("AccessDenied")))
    with pytest.raises(Denied, match=r"s3://bucket/a.csv.*permit"):
        list(objects.read(ITEM))
    for call in (
        lambda: list(objects.list("s3://bucket/in/")),
        lambda: objects.write("s3://bucket/a.csv", b""),
    ):
        with pytest.raises(Fatal) as caught:
            call()
        assert not isinstance(caught.value, Denied)


def test_an_object_in_an_archive_is_unreadable(
    answering: Callable[[Answer], S3Objects],
) -> None:
    """That one file; the others of a run are still done."""
    objects = answering(Answer(403, _error("InvalidObjectState")))
    with pytest.raises(Unreadable, match="restore"):
        list(objects.read(ITEM))


def test_a_store_that_passes_over_ranges_is_read_all_the_same(
    answering: Callable[[Answer], S3Objects],
) -> None:
    """What was not asked for is dropped, so that the start of a file is not read twice."""
    objects = answering(Answer(200, b"0123456789"))
    assert b"".join(objects.read(ITEM)) == b"0123456789"
    assert b"".join(objects.read(ITEM, 4)) == b"456789"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200),
        Answer(200, b"<html><body>Please log in</body></html>", {"Content-Type": "text/html"}),
        Answer(200, b"<html><br><p>"),
        Answer(200, b"not S3"),
    ],
)
def test_what_is_no_answer_of_s3_is_an_outage(
    answering: Callable[[Answer], S3Objects], answer: Answer
) -> None:
    """A page of some gateway is no empty bucket."""
    for call in _every_method(answering(answer)):
        with pytest.raises(Unavailable):
            call()


def test_an_unknown_key_is_fatal(s3_config: S3Config, bucket: str) -> None:
    """As the running S3 refuses it."""
    stranger = {"access_key_id": "stranger"}
    objects = S3Objects(s3_client(s3_config.model_copy(update=stranger)))
    for call in (
        lambda: list(objects.list(f"s3://{bucket}/")),
        lambda: list(objects.list(f"s3://{bucket}/a.csv")),
        lambda: objects.write(f"s3://{bucket}/a.csv", b""),
    ):
        with pytest.raises(Fatal, match="ASSAY_S3__ACCESS_KEY_ID"):
            call()


@pytest.fixture
def without_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which boto3 finds no credentials."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


@pytest.mark.usefixtures("without_credentials")
def test_no_credentials_are_fatal(s3_config: S3Config) -> None:
    """Says which variables to set."""
    objects = _without_keys(s3_config)
    with pytest.raises(Fatal, match="ASSAY_S3__ACCESS_KEY_ID and ASSAY_S3__SECRET_ACCESS_KEY"):
        list(objects.list("s3://bucket/"))


@pytest.mark.usefixtures("without_credentials")
def test_without_keys_boto3_finds_its_own(
    s3_config: S3Config, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its environment variables, for one."""
    assert s3_config.access_key_id
    assert s3_config.secret_access_key
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_config.access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_config.secret_access_key.get_secret_value())
    objects = _without_keys(s3_config)
    assert list(objects.list(f"s3://{bucket}/")) == []


@pytest.mark.parametrize(
    "uri", ["s3:/bucket/a.csv", "s3://", "s3:///a.csv", "/bucket/a.csv", "s3://NO SUCH/a.csv"]
)
def test_what_is_no_address_is_fatal(objects: S3Objects, uri: str) -> None:
    """Before anything is sent."""
    with pytest.raises(Fatal, match=uri):
        list(objects.list(uri))


@pytest.mark.parametrize(
    "settings",
    [
        {"access_key_id": "key"},
        {"secret_access_key": "secret"},
        {"session_token": "token"},
        {"endpoint_url": "not a url"},
        {"read_timeout": 0},
        {"addressing_style": "sideways"},
    ],
)
def test_settings_are_checked(settings: dict[str, Any]) -> None:
    """A mistake is told at the start."""
    with pytest.raises(ValidationError):
        S3Config.model_validate(settings)


def test_secrets_do_not_show() -> None:
    """Neither where settings are printed nor in their errors."""
    config = S3Config(
        access_key_id="key", secret_access_key=SecretStr("hush"), session_token=SecretStr("hush")
    )
    assert "hush" not in f"{config!r} {config} {config.model_dump_json()}"


def _without_keys(config: S3Config) -> S3Objects:
    return S3Objects(s3_client(S3Config(endpoint_url=config.endpoint_url, region=config.region)))


ITEM = Object("s3://bucket/a.csv", "etag:e", 10)


def _every_method(objects: S3Objects) -> tuple[Callable[[], object], ...]:
    return (
        lambda: list(objects.list("s3://bucket/in/")),
        lambda: list(objects.list("s3://bucket/a.csv")),
        lambda: list(objects.read(ITEM)),
        lambda: objects.write("s3://bucket/a.csv", b""),
        lambda: objects.move(ITEM, "s3://bucket/archive/a.csv"),
    )
