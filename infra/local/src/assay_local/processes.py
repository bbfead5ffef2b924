"""Processes by number and start time, and whole trees of them.

A number alone is no identity: systems give it again.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from assay_local.service import Launch

GUARD = Path(__file__).with_name("guard.py")
# Seconds. Linux counts from its start, of which it tells whole seconds, and these may flip.
SAME_START = 2.0
GRACE = 8.0


@dataclass(frozen=True)
class Identity:
    """A process: its number and its start, in seconds since 1970."""

    pid: int
    started: float


@dataclass(frozen=True)
class Guarded:
    """A server that ends with this process, until it is released."""

    identity: Identity
    guard: "subprocess.Popen[str]"

    def release(self) -> None:
        """Lets the server go on when this process ends."""
        assert self.guard.stdin is not None  # noqa: S101 - opened below
        with suppress(BrokenPipeError):  # The server has ended, and its guard with it.
            self.guard.stdin.write("release\n")
            self.guard.stdin.flush()
        self.end()

    def end(self) -> int:
        """Ends the server if it runs and was not released; waits for that.

        Returns:
            The server's exit code where it ended by itself, else 0.
        """
        with suppress(BrokenPipeError):
            self.guard.communicate()
        return self.guard.wait()


class StartError(Exception):
    """The operating system did not start the command; the message is its own."""


def start(launch: Launch, stop: signal.Signals, log: Path) -> Guarded:
    """Starts a command whose output is appended to a log.

    Raises:
        StartError: It could not be started.
    """
    account = launch.account
    order = {
        "argv": launch.argv,
        "env": dict(launch.env),
        "cwd": str(launch.cwd),
        "uid": account.uid if account else None,
        "gid": account.gid if account else None,
        "stop": stop.value,
        "grace": GRACE,
    }
    with log.open("ab") as output:
        guard = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-P", str(GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            text=True,
            start_new_session=True,  # Ctrl-C in a terminal is for us; the server ends after us.
        )
    assert guard.stdin is not None  # noqa: S101 - opened above
    assert guard.stdout is not None  # noqa: S101 - opened above
    try:
        guard.stdin.write(json.dumps(order) + "\n")
        guard.stdin.flush()
        identity = _identity(guard.stdout.readline())
    except BaseException:
        guard.communicate()
        raise
    return Guarded(identity, guard)


def _identity(answer: str) -> Identity:
    """The server's process, as its guard names it."""
    if not answer:
        raise StartError("its guard ended")
    named = json.loads(answer)
    if "error" in named:
        raise StartError(named["error"])
    try:
        return Identity(named["pid"], psutil.Process(named["pid"]).create_time())
    except psutil.NoSuchProcess:
        raise StartError("it ended at once") from None


def environment(process: psutil.Process) -> dict[str, str] | None:
    """The variables that a process was started with; None where the system does not say."""
    with suppress(psutil.Error):
        return process.environ()
    return None


def find(identity: Identity | None) -> psutil.Process | None:
    """The process, unless it has ended."""
    if identity is None:
        return None
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.started) < SAME_START
        if same and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def signal_tree(process: psutil.Process, number: signal.Signals) -> list[psutil.Process]:
    """Sends a signal to a process and then to all below it; returns them."""
    reached: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
        reached = [process, *process.children(recursive=True)]
    for child in reached[1:]:
        with suppress(psutil.NoSuchProcess):
            child.send_signal(number)
    return reached


def kill_tree(process: psutil.Process) -> None:
    """Kills a process and all below it, and waits until they are gone."""
    # Stopped first, so that none starts another one meanwhile.
    kill_all(signal_tree(process, signal.SIGSTOP))


def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kills these processes and waits until they are gone."""
    killed = list(processes)
    for process in killed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    wait_gone(killed, GRACE)


def stop(process: psutil.Process, number: signal.Signals) -> None:
    """Ends a process in an orderly way, or after some seconds by force, with all below it."""
    family = signal_tree(process, signal.SIGCONT)
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
    if not wait_gone([process], GRACE):
        family += signal_tree(process, signal.SIGSTOP)
    kill_all(family)


def wait_gone(processes: list[psutil.Process], seconds: float) -> bool:
    """Waits until none of them runs; a zombie, which only waits to be noticed, does not run."""
    deadline = time.monotonic() + seconds
    while any(map(_runs, processes)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def working_in(folder: Path, name: str) -> list[psutil.Process]:
    """The processes of that name whose working directory is the folder."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == name and Path(process.cwd()) == folder:
                found.append(process)
    return found


def memory(process: psutil.Process) -> int:
    """Bytes of memory of a process and all below it; what they share counts once (on Linux)."""
    total = 0
    for member in (process, *process.children(recursive=True)):
        with suppress(psutil.Error):
            info = member.memory_full_info()
            total += getattr(info, "pss", info.rss)
    return total
