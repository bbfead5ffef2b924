"""What a process, and the servers that it uses, spend."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
_LAUNCH: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")))
_GRACE: Final = 10.0
_LOOK: Final = 0.5  # seconds between two looks at the memory of several processes


class CommandFailed(Exception):
    """A command did not end as it should."""


@dataclass(frozen=True)
class Spent:
    """What one run of a command has cost.

    Attributes:
        seconds: from its start to its end.
        cpu: CPU seconds of the command itself.
        servers: CPU seconds of each server meanwhile.
        others: CPU seconds that everything else on this machine took meanwhile.
        peak: the most memory that the command held, in bytes; of several processes together, as
            looked at twice a second.
        output: its last line.
    """

    seconds: float
    cpu: float
    servers: dict[str, float]
    others: float
    peak: int
    output: str


def run(
    command: Sequence[str], environment: Mapping[str, str], servers: Mapping[str, psutil.Process]
) -> Spent:
    """Runs a command to its end; whatever interrupts this ends the command first.

    Memory is what the system noted of the process, or of it and its children together, whichever is
    more; CPU seconds are those that the system counted of it and of children that it has waited
    for, or those that all of them were seen to have spent, whichever is more.

    Raises:
        CommandFailed: it did not exit with 0; with the end of what it wrote.
    """
    before, busy = {name: _cpu(each) for name, each in servers.items()}, _busy()
    with (
        tempfile.TemporaryFile() as output,
        tempfile.TemporaryFile() as log,
        tempfile.NamedTemporaryFile() as result,
    ):
        process = subprocess.Popen(  # noqa: S603 - our own commands
            [*_LAUNCH, result.name, *command],
            env=environment,
            stdout=output,
            stderr=log,
            start_new_session=True,
        )
        try:
            with _watched(process.pid) as seen:
                process.wait()
        except BaseException:
            _end(process)
            raise
        spent = json.load(result)
        output.seek(0)
        log.seek(0)
        lines = output.read().decode().splitlines()
        if spent["code"] != 0:
            tail = "\n".join([*log.read().decode(errors="replace").splitlines()[-15:], *lines[-1:]])
            raise CommandFailed(f"{Path(command[0]).name} exited {spent['code']}:\n{tail}")
    cpu = max(spent["cpu"], sum(seen.cpu.values()))
    theirs = {name: _cpu(each) - before[name] for name, each in servers.items()}
    return Spent(
        seconds=spent["seconds"],
        cpu=cpu,
        servers=theirs,
        others=max(0.0, _busy() - busy - cpu - sum(theirs.values())),
        peak=max(spent["peak"] * _RSS_UNIT, seen.peak),
        output=lines[-1] if lines else "",
    )


@dataclass
class _Seen:
    """What the processes below another were seen to have spent.

    Attributes:
        peak: the most memory that they held together, in bytes.
        cpu: CPU seconds of each, by its number, when it was seen last.
    """

    peak: int = 0
    cpu: dict[int, float] = field(default_factory=dict[int, float])


@contextmanager
def _watched(pid: int) -> Generator[_Seen]:
    """What is below a process, looked at twice a second."""
    seen, over = _Seen(), threading.Event()

    def look() -> None:
        while not over.wait(_LOOK):
            with suppress(psutil.Error):
                every = psutil.Process(pid).children(recursive=True)
                seen.cpu |= {each.pid: sum(each.cpu_times()[:2]) for each in every}
                seen.peak = max(seen.peak, sum(each.memory_info().rss for each in every))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _end(process: "subprocess.Popen[bytes]") -> None:
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _cpu(process: psutil.Process) -> float:
    """CPU seconds of a process and all below it, those that have ended included."""
    while True:
        every = (process, *process.children(recursive=True))
        # One that has ended since counts for its parent, which was asked before.
        with suppress(psutil.NoSuchProcess):
            return sum(sum(each.cpu_times()[:4]) for each in every)


def _busy() -> float:
    """CPU seconds of the whole machine that were not idle."""
    times = psutil.cpu_times()
    return sum(times[:8]) - times.idle - getattr(times, "iowait", 0.0)
