"""The real service as a process, and applications over invented models, all over real HTTP."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import uvicorn

from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay.memory.meter import MemoryMeter
from assay_ml_api.app import create_app
from assay_ml_api.config import ServerConfig
from assay_ml_api.serving import Serving, State
from assay_model.explain import PARTS


class InventedModel:
    """Says `Food` of everything; a test may have it do something else first."""

    name = "invented"
    version = "7"
    taxonomy: Taxonomy = DEFAULT
    reference = None

    def __init__(self, before: Callable[[pl.DataFrame], None] = lambda _: None) -> None:
        self.before = before

    def predict(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """The same for each."""
        self.before(transactions)
        rows = transactions.height
        return pl.DataFrame(
            {
                "category": ["Food"] * rows,
                "confidence": [0.5] * rows,
                "needs_review": [False] * rows,
                "feature_hash": ["00"] * rows,
            }
        )

    def explain(self, transactions: pl.DataFrame, categories: pl.Series) -> pl.Series:
        """Nothing."""
        del categories
        return pl.Series([None] * transactions.height, dtype=PARTS)


class Process:
    """`python -m assay_ml_api`, and what it logged so far."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        clean = {name: each for name, each in os.environ.items() if not name.startswith("ASSAY_")}
        self.log = folder / "log"
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "assay_ml_api"],
            cwd=folder,
            env={**clean, "ASSAY_SERVER__PORT": "0", **settings},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if '"listening"' in line:
                self._listening.set()
        self._listening.set()

    @property
    def url(self) -> str:
        """Where it listens, once it does."""
        assert self._listening.wait(60)
        found = next((line for line in self.lines if '"listening"' in line), None)
        assert found is not None, "".join(self.lines)
        return f"http://127.0.0.1:{json.loads(found)['port']}"

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(60)
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        return code

    def stop(self) -> int:
        """Tells it to stop and waits."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Generator[Start]:
    """Starts the service with these settings, those of `server` without their section."""
    started: list[Process] = []

    def process(**settings: str) -> Process:
        named = {
            f"ASSAY_{name if '__' in name else f'server__{name}'}".upper(): value
            for name, value in settings.items()
        }
        folder = tmp_path / f"service-{len(started)}"
        folder.mkdir()
        started.append(Process(folder, named))
        return started[-1]

    yield process
    for each in started:
        if each.process.poll() is None:
            each.stop()


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The real service with the real model and small limits."""
    limits = {"MAX_BYTES": "2000000", "MAX_RECORDS": "5000"}
    process = Process(
        tmp_path_factory.mktemp("api"), {f"ASSAY_SERVER__{n}": v for n, v in limits.items()}
    )
    yield process.url
    assert process.stop() == 0


@pytest.fixture(scope="session")
def api(url: str) -> Generator[httpx.Client]:
    """A client of the real service."""
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        client.get("/health/ready").raise_for_status()
        yield client


Serve = Callable[..., httpx.Client]


@pytest.fixture
def meter() -> MemoryMeter:
    """What the invented service counts."""
    return MemoryMeter()


@pytest.fixture
def serve(meter: MemoryMeter) -> Generator[Serve]:
    """Serves an invented model with these settings, in this process."""
    running: list[tuple[uvicorn.Server, threading.Thread, socket.socket, httpx.Client]] = []

    def client(
        before: Callable[[pl.DataFrame], None] = lambda _: None,
        challenger: InventedModel | None = None,
        http: Any = "auto",
        **settings: Any,
    ) -> Any:
        app = create_app(
            Serving(State(InventedModel(before), challenger), meter),
            ServerConfig.model_validate(settings),
            meter,
            lambda: (b"# none\n", "text/plain"),
        )
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, http=http, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        port = listener.getsockname()[1]
        made = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)
        running.append((server, thread, listener, made))
        return made

    yield client
    for server, thread, listener, made in running:
        server.should_exit = True
        made.close()
        thread.join(30)
        listener.close()
        assert not thread.is_alive()
