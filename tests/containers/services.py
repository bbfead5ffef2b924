"""Containers on the servers of this machine."""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from containers.engine import ROOT, Engine
from docker.models.containers import Container

from assay_adapters.s3.objects import S3Objects

TARGETS = ("api", "batch", "streaming", "cli", "airflow")
"""The images, as the Dockerfile calls them."""

CONTRACTS = {ROOT / "contracts": "/contracts"}
"""The contracts of the product, as containers see them."""


@dataclass(frozen=True)
class Ended:
    """How a container ended."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> dict[str, Any]:
        """The last line, which is JSON."""
        return json.loads(self.out.splitlines()[-1])


@dataclass
class Services:
    """Containers on the servers of this machine.

    Attributes:
        environment: of all of them.
        objects: in S3.
    """

    engine: Engine
    environment: dict[str, str]
    objects: S3Objects
    started: list[Container] = field(default_factory=list[Container])

    def start(
        self,
        target: str,
        *command: str,
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
    ) -> Container:
        """Starts one of an image."""
        given = {**self.environment, **(environment or {})}
        made = self.engine.run(f"assay-{target}:test", *command, environment=given, mounts=mounts)
        self.started.append(made)
        return made

    def run(self, target: str, *command: str, mounts: Mapping[Path, str] | None = None) -> "Ended":
        """Runs one to its end."""
        return ended(self.start(target, *command, mounts=mounts))


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ended(container: Container) -> Ended:
    """Waits for its end."""
    code = container.wait(timeout=280)["StatusCode"]
    out, err = (container.logs(stdout=each, stderr=not each).decode() for each in (True, False))
    return Ended(code, out, err)
