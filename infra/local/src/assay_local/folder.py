"""The data folder: whose it is, who works in it now, and what is known of its servers.

.assay-local     marks the folder as ours; nothing else is ever deleted
lock             held by whoever starts or stops servers here
state.json       ports, passwords and processes of the servers; only the owner may read it
logs/NAME.log    what a server wrote; the log before that is NAME.log.1 (10 MB each)
NAME/            a server's own data
"""

import fcntl
import json
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from assay_local.account import remove_elsewhere
from assay_local.errors import LocalError, SetupError
from assay_local.processes import Identity
from assay_local.service import Site

MARKER = ".assay-local"
PATIENCE = 60.0
LOG_BYTES = 10_000_000

_writing = threading.Lock()


@dataclass(frozen=True)
class Entry:
    """What is remembered of one server.

    Attributes:
        ports: Its ports; kept between runs where they are still free.
        secret: Its password.
        durable: As it was started last.
        process: Its process when it was started last; None after an orderly stop.
        version: As it was started last.
        moved_from: The port that it had before, if another program was found there.
        cluster: The names of all servers of its cluster; empty where it is of none.
    """

    ports: tuple[int, ...]
    secret: str
    durable: bool = True
    process: Identity | None = None
    version: str = ""
    moved_from: int | None = None
    cluster: tuple[str, ...] = ()


def prepare(data: Path) -> None:
    """Makes the folder, marked as ours.

    Raises:
        SetupError: Something else lies there.
    """
    try:
        # A server may run as another account, which must be able to pass.
        data.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        marker = data / MARKER
        # Others may be making it at the same time: the mark comes first, and is looked for twice.
        if not marker.exists() and any(data.iterdir()) and not marker.exists():
            raise SetupError(
                f"{data} holds other things than local servers. Name an empty or new folder."
            )
        marker.touch()
        (data / ".gitignore").write_text("*\n")
        (data / "logs").mkdir(exist_ok=True)
    except OSError as error:
        raise SetupError(f"Cannot use {data} for the servers' data: {error}") from error


@contextmanager
def claim(data: Path, *, session: bool = False) -> Generator[None]:
    """Holds the folder, so that one process at a time starts and stops servers in it.

    Args:
        data: A prepared folder.
        session: Whether it is held as long as the servers run. Others then do not wait.

    Raises:
        LocalError: Another process holds the folder.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            file = (data / "lock").open("a+")
        except FileNotFoundError:  # Wiped meanwhile.
            prepare(data)
            continue
        with file:
            if not _locked(file.fileno()):
                file.seek(0)
                holder, _, kind = file.read().partition(" ")
                if kind == "session" or time.monotonic() > deadline:
                    raise LocalError(
                        f"Process {holder or 'unknown'} is using {data}"
                        + ("; its servers end with it." if kind == "session" else ".")
                    )
                time.sleep(0.02)
                continue
            if not _is_at(file.fileno(), data / "lock"):
                continue
            # A fork that outlives us would go on holding the lock.
            os.register_at_fork(after_in_child=file.close)
            file.truncate(0)
            file.write(f"{os.getpid()} {'session' if session else 'command'}")
            file.flush()
            yield
            return


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one at the path, and not one that was wiped."""
    with suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(descriptor), path.stat())
    return False


def read(data: Path) -> dict[str, Entry]:
    """What is remembered of the servers here, by name; nothing where there is no such folder."""
    try:
        stored: dict[str, dict[str, Any]] = json.loads((data / "state.json").read_text())
    except FileNotFoundError:
        return {}
    except (ValueError, OSError) as error:
        raise SetupError(f"Cannot read {data / 'state.json'}: {error}") from error
    return {name: _entry(**fields) for name, fields in stored.items()}


def _entry(
    ports: list[int], process: dict[str, Any] | None, cluster: Sequence[str] = (), **rest: Any
) -> Entry:
    known = Identity(**process) if process else None
    return Entry(ports=tuple(ports), process=known, cluster=tuple(cluster), **rest)


def remember(data: Path, name: str, entry: Entry) -> None:
    """Writes down one server, all at once or not at all."""
    with _writing:
        entries = read(data) | {name: entry}
        handle, path = tempfile.mkstemp(prefix="state.", dir=data)  # mode 0600
        with os.fdopen(handle, "w") as file:
            json.dump({key: asdict(value) for key, value in entries.items()}, file, indent=2)
        Path(path).replace(data / "state.json")


def new_secret() -> str:
    """A password of URL-safe characters."""
    return secrets.token_hex(16)


def site(data: Path, name: str, entry: Entry) -> Site:
    """Where a server lives; its folder is made if it is missing."""
    folder = data / name
    if not folder.is_symlink():
        folder.mkdir(mode=0o700, exist_ok=True)
    entries = read(data) if entry.cluster else {}
    cluster = tuple(entries[each].ports for each in entry.cluster if each in entries)
    return Site(folder, entry.ports, entry.secret, entry.durable, cluster)


def log(data: Path, name: str) -> Path:
    """The file that a server's output goes to."""
    return data / "logs" / f"{name}.log"


def rotate(path: Path) -> int:
    """Puts a long log aside; returns the length of the one to append to."""
    with suppress(FileNotFoundError):
        size = path.stat().st_size
        if size < LOG_BYTES:
            return size
        path.replace(path.with_name(f"{path.name}.1"))
    return 0


def wipe(data: Path) -> None:
    """Deletes the folder and what its servers keep elsewhere.

    Raises:
        SetupError: The folder is not marked as ours.
    """
    if not (data / MARKER).is_file():
        raise SetupError(
            f"{data} is not a folder of local servers (no {MARKER} in it): left alone."
        )
    for entry in data.iterdir():
        remove_elsewhere(entry)
    shutil.rmtree(data)
