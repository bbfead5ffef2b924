"""The command line run in this process, and what it needs."""

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from assay.domain.taxonomy import DEFAULT
from assay.testing.frames import outcome
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.migrate import migrate
from assay_adapters.postgres.store import PostgresStore
from assay_cli.main import main
from assay_local import Local, databases
from assay_local.pytest_plugin import S3Settings

Ended = subprocess.CompletedProcess[str]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder without `.env`, and no settings."""
    for name in os.environ:
        if name.startswith("ASSAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def assay(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Runs a command line to its end, in this process."""

    def run(*words: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["assay", *words])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # Typer sets its own
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(words, ended.value.code, out, err)

    return run


@pytest.fixture
def empty(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The settings name a database without tables; its URL."""
    monkeypatch.setenv("ASSAY_POSTGRES__URL", postgres_url)
    return postgres_url


@pytest.fixture(scope="session")
def template(local: Local) -> str:
    """The name of a database with tables, to make others from."""
    name = f"cli_template_{secrets.token_hex(8)}"  # other sessions may share the server
    migrate(PostgresConfig(url=SecretStr(databases.create(local.postgres.url, name))))
    return name


@pytest.fixture
def engine(local: Local, template: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """The settings name a database with tables."""
    name = f"cli_{secrets.token_hex(8)}"
    local.postgres.start()  # A test before may have killed it.
    url = databases.create(local.postgres.url, name, template=template)
    monkeypatch.setenv("ASSAY_POSTGRES__URL", url)
    made = engine_for(PostgresConfig(url=SecretStr(url)))
    yield made
    made.dispose()
    databases.drop(local.postgres.url, name)


@pytest.fixture
def books(engine: Engine) -> Engine:
    """Two files are committed: two transactions, and three rejects."""
    store = PostgresStore(engine, processing_type="batch")
    first, second = "s3://cards/may.csv#v1", "s3://cards/june.csv#v1"
    store.commit(
        outcome(["a", "b"], partition=first, rejected=["c", None], run="run-1", end="finished")
    )
    store.commit(outcome([], partition=second, rejected=["d"], run="run-2"))
    return engine


@pytest.fixture
def s3(s3_settings: S3Settings, monkeypatch: pytest.MonkeyPatch) -> S3Settings:
    """The settings name S3."""
    for name, value in vars(s3_settings).items():
        monkeypatch.setenv(f"ASSAY_S3__{name.upper()}", value)
    return s3_settings


@pytest.fixture
def kafka(kafka_servers: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The settings name Kafka."""
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", kafka_servers)
    return kafka_servers


class _Model(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        categories = list(DEFAULT.categories)
        about = {"name": "linear", "version": "7", "taxonomy": {"categories": categories}}
        body = json.dumps(about).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Says nothing."""


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The settings name an API that says which model it has."""
    with HTTPServer(("127.0.0.1", 0), _Model) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("ASSAY_API__URL", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def silent() -> Iterator[str]:
    """Host and port of a server that accepts connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        host, port = listener.getsockname()
        yield f"{host}:{port}"
