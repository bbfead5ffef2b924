"""What a process, and the servers that it uses, spend."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
_GRACE: Final = 10.0


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
        peak: the most memory that the command held, in bytes.
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

    Memory is what the system noted of the process. It starts with what this process holds, so this
    one has to be the smaller one.

    Raises:
        CommandFailed: it did not exit with 0; with the end of what it wrote.
    """
    before, busy = {name: _cpu(each) for name, each in servers.items()}, _busy()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
        began = time.monotonic()
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command, env=environment, stdout=output, stderr=log, start_new_session=True
        )
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            _end(process)
            raise
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        log.seek(0)
        lines = output.read().decode().splitlines()
        if process.returncode != 0:
            tail = "\n".join([*log.read().decode(errors="replace").splitlines()[-15:], *lines[-1:]])
            raise CommandFailed(f"{Path(command[0]).name} exited {process.returncode}:\n{tail}")
    cpu = usage.ru_utime + usage.ru_stime
    spent = {name: _cpu(each) - before[name] for name, each in servers.items()}
    return Spent(
        seconds=seconds,
        cpu=cpu,
        servers=spent,
        others=max(0.0, _busy() - busy - cpu - sum(spent.values())),
        peak=usage.ru_maxrss * _RSS_UNIT,
        output=lines[-1] if lines else "",
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
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
