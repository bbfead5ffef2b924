"""A project folder of its own for each test, and a stand-in for the model API."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from assay_local.local import down

STAND_IN = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()

address = os.environ["ASSAY_SERVER__HOST"], int(os.environ["ASSAY_SERVER__PORT"])
print("listening", flush=True)
ThreadingHTTPServer(address, Ready).serve_forever()
"""

Script = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What `python -m assay_ml_api` runs in this test."""
    modules = tmp_path / "modules"
    modules.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(modules))
    module = modules / "assay_ml_api.py"
    module.write_text(STAND_IN)
    return module


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stand_in: Path) -> Iterator[Path]:
    """The working directory, which names no servers; what still runs afterwards is stopped."""
    del stand_in
    for name in os.environ:
        if name.startswith("ASSAY_"):
            monkeypatch.delenv(name)
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    yield folder
    down(data=folder / ".assay", wipe=True)


@pytest.fixture
def script(project: Path) -> Iterator[Script]:
    """Runs Python in a process of its own; killed afterwards."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=project, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with process:
            process.kill()
