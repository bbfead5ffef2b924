"""The commands as people run them, on servers, a database and a bucket of their own."""

import gzip
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import forked
import psycopg
from rich.console import Console

from assay.contract.document import parse
from assay.domain.errors import AssayError
from assay.pipeline.pump import Policy
from assay_adapters.environment.settings import load
from assay_adapters.s3.objects import S3Objects
from assay_batch.bootstrap import BatchSettings, services
from assay_batch.places import places
from assay_batch.progress import shown
from assay_batch.run import Request, Result, run

ROOT = Path(__file__).parents[1]
ASSAY = Path(sys.executable).with_name("assay")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    exit_code: int
    summary: dict[str, Any]
    errors: str


def _done(exit_code: int, out: str, err: str) -> Done:
    last = (out.splitlines() or ["{}"])[-1]
    return Done(exit_code, json.loads(last) if last.startswith("{") else {}, err)


@dataclass(frozen=True)
class Forked:
    """A command that was forked."""

    process: BaseProcess
    out: Path
    err: Path

    def end(self, *, timeout: float = 120) -> Done:
        """Waits for it; the last line that it writes is its summary."""
        self.process.join(timeout)
        assert self.process.exitcode is not None
        return _done(self.process.exitcode, self.out.read_text(), self.err.read_text())


@dataclass
class System:
    """The servers, a migrated database and a bucket, and the commands that run on them."""

    environment: dict[str, str]
    bucket: str
    objects: S3Objects
    folder: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def uri(self, name: str) -> str:
        """An object's URI."""
        return f"s3://{self.bucket}/{name}"

    def put(self, name: str, body: bytes) -> None:
        """Puts an object; `.gz` is packed."""
        self.objects.write(self.uri(name), gzip.compress(body) if name.endswith(".gz") else body)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Starts a command of `assay`."""
        process = subprocess.Popen(
            [str(ASSAY), *arguments],
            env=self.environment | environment,
            cwd=ROOT / "tests",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process

    def end(self, process: subprocess.Popen[str], *, timeout: float = 120) -> Done:
        """Waits for a command; the last line that it writes is its summary."""
        out, err = process.communicate(timeout=timeout)
        return _done(process.returncode, out, err)

    def run(self, *arguments: str, **environment: str) -> Done:
        """Runs a command of `assay` to its end."""
        return self.end(self.start(*arguments, **environment))

    def fork(self, *arguments: str, **environment: str) -> "Forked":
        """Starts a command of `assay` at once."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        out, err = folder / "out", folder / "err"
        err.touch()  # read while the command begins
        process = forked.start("cli", arguments, self.environment | environment, out=out, err=err)
        return Forked(process, out, err)

    def quick(self, *arguments: str, **environment: str) -> Done:
        """The same as `run`, without the time that a command takes to begin."""
        return self.fork(*arguments, **environment).end()

    def batch(self, *arguments: str, contract: str = "transactions", **environment: str) -> Done:
        """Does `assay batch run` to its end."""
        path = str(self.contract(contract))
        return self.quick("batch", "run", *arguments, "--contract", path, **environment)

    def batch_here(
        self, uri: str, contract: str, policy: Policy, **environment: str
    ) -> tuple[Result, AssayError | None]:
        """Does what `assay batch run` does, in this process: no start to wait for.

        Args:
            uri: the files.
            contract: the text of a contract.
            policy: patience and limits.
            environment: settings besides those of the system.

        Returns:
            What the run has done, and what has stopped it, if anything has.
        """
        with patch.object(os, "environ", self.environment | environment):
            settings = load(BatchSettings)
        at = places([uri])
        request = Request(str(uuid4()), [uri], at, parse(contract, "contract"), policy)
        result = Result(request.run_id)
        try:
            with (
                services(at, settings, request.run_id, request.source) as composed,
                shown(Console(stderr=True)) as progress,
            ):
                run(request, composed, result, progress)
        except AssayError as error:
            return result, error
        return result, None

    def contract(self, name: str) -> Path:
        """The path of a contract of the project."""
        return ROOT / "contracts" / f"{name}.odcs.yaml"

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """What the database says; `%s` in the question stands for a value."""
        with psycopg.connect(self.environment["ASSAY_POSTGRES__URL"]) as connection:
            return connection.execute(sql.encode(), values or None).fetchall()

    def execute(self, sql: str) -> None:
        """Changes the database by hand."""
        with psycopg.connect(self.environment["ASSAY_POSTGRES__URL"]) as connection:
            connection.execute(sql.encode())

    def balances(self) -> bool:
        """Whether `assay reconcile` finds the books in order."""
        return self.quick("reconcile", "--json").exit_code == 0
