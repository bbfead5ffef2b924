"""What is known of the servers of a data folder, for people and for programs."""

import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from assay_local import folder, processes
from assay_local.catalogue import KNOWN, SERVICES, USUAL
from assay_local.local import external_settings
from assay_local.server import Server
from assay_local.service import HOST, Service

State = Literal["running", "not answering", "stopped", "external", "external, unreachable"]


@dataclass(frozen=True)
class Row:
    """One service.

    Attributes:
        service: Its name.
        about: What it is.
        state: Whether it serves.
        version: Of the server that runs, or ran last.
        address: Host and port.
        pid: Its process.
        memory_bytes: Of it and its child processes.
        uptime_seconds: Since its start.
        moved_from: The port that another program had taken, so that it was given the present one.
        log: The file with its output.
        obeys: Settings of the user that it was started with.
    """

    service: str
    about: str
    state: State
    version: str | None = None
    address: str | None = None
    pid: int | None = None
    memory_bytes: int | None = None
    uptime_seconds: float | None = None
    moved_from: int | None = None
    log: str | None = None
    obeys: Mapping[str, str] = field(default_factory=dict[str, str])


def rows(data: Path, environment: Mapping[str, str]) -> list[Row]:
    """The usual services, and others that this folder or the environment has, one row each.

    Of a cluster in this folder one for each server.
    """
    entries = folder.read(data)
    shown: list[Service] = []
    for name, service in KNOWN.items():
        is_external = external_settings(service, data, environment) is not None
        if name in USUAL or (name in SERVICES if is_external else name in entries):
            shown.append(service)
    with ThreadPoolExecutor(len(shown)) as pool:
        pending = [pool.submit(_row, each, data, environment) for each in shown]
    return [row.result() for row in pending]


def settings(data: Path) -> dict[str, str]:
    """The variables of the servers of this folder that run now."""
    entries = folder.read(data)
    known = [Server(KNOWN[name], data, None) for name in KNOWN if name in entries]
    return {
        key: value for server in known if server.process for key, value in server.settings.items()
    }


def named(data: Path, environment: Mapping[str, str]) -> list[str]:
    """The variables of the environment that name servers of this folder, running or not."""
    entries = folder.read(data)
    known = [Server(KNOWN[name], data, None) for name in KNOWN if name in entries]
    return [
        key
        for server in known
        for key, value in server.settings.items()
        if environment.get(key) == value
    ]


def _row(service: Service, data: Path, environment: Mapping[str, str]) -> Row:
    external = external_settings(service, data, environment)
    if external is not None:
        url = external[service.keys[0]]
        state: State = "external" if _reachable(url) else "external, unreachable"
        return Row(service.name, f"as {service.keys[0]} says", state, address=_address(url))
    entry = folder.read(data).get(service.name)
    if entry is None:
        return Row(service.name, service.about, "stopped")
    server = Server(service, data, None)
    process = server.process
    if process is None:
        return Row(
            service.name,
            service.about,
            "stopped",
            version=entry.version,
            address=f"{HOST}:{server.site.port}",
            log=str(server.log),
        )
    return Row(
        service.name,
        service.about,
        "running" if server.answers() else "not answering",
        version=entry.version,
        address=f"{HOST}:{server.site.port}",
        pid=process.pid,
        memory_bytes=processes.memory(process),
        uptime_seconds=round(time.time() - process.create_time(), 1),
        moved_from=entry.moved_from,
        log=str(server.log),
        obeys=server.obeyed() or {},
    )


def _address(named: str) -> str:
    """Host and port of a URL; what is no URL is an address already, or several."""
    if "://" not in named:
        return named
    parts = urlsplit(named)
    return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or named


def _reachable(named: str) -> bool:
    """Whether somebody listens there; of several addresses, at one of them."""
    urls = [named] if "://" in named else [f"//{each.strip()}" for each in named.split(",")]
    return any(map(_listens, urls))


def _listens(url: str) -> bool:
    parts = urlsplit(url)
    standard = {"http": 80, "https": 443, "": 9092}.get(parts.scheme, 5432)
    try:
        with socket.create_connection((parts.hostname, parts.port or standard), timeout=1):
            return True
    except (OSError, ValueError):  # ValueError: the port is no number.
        return False
