"""The commands as people run them, on servers, a database and a bucket of their own."""

import gzip
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from assay_adapters.s3.objects import S3Objects

ROOT = Path(__file__).parents[1]
ASSAY = Path(sys.executable).with_name("assay")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    exit_code: int
    summary: dict[str, Any]
    errors: str


@dataclass
class System:
    """The servers, a migrated database and a bucket, and the commands that run on them."""

    environment: dict[str, str]
    bucket: str
    objects: S3Objects
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
        last = (out.splitlines() or ["{}"])[-1]
        return Done(process.returncode, json.loads(last) if last.startswith("{") else {}, err)

    def run(self, *arguments: str, **environment: str) -> Done:
        """Runs a command of `assay` to its end."""
        return self.end(self.start(*arguments, **environment))

    def batch(self, *arguments: str, contract: str = "transactions", **environment: str) -> Done:
        """Runs `assay batch run`."""
        path = str(self.contract(contract))
        return self.run("batch", "run", *arguments, "--contract", path, **environment)

    def contract(self, name: str) -> Path:
        """The path of a contract of the project."""
        return ROOT / "contracts" / f"{name}.odcs.yaml"

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.environment["ASSAY_POSTGRES__URL"]) as connection:
            return connection.execute(sql.encode()).fetchall()

    def balances(self) -> bool:
        """Whether `assay reconcile` finds the books in order."""
        return self.run("reconcile", "--json").exit_code == 0
