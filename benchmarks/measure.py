"""What a process, and the servers that it uses, spend."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import psutil

_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
_LAUNCH: Final = (sys.executable, "-I", "-S", str(Path(__file__).with_name("launch.py")))
_GRACE: Final = 10.0
_LOOK: Final = 0.5  # seconds between two looks at the memory of several processes
_SELDOM: Final = 2.0  # the same of servers, whose shared memory is counted page by page


class CommandFailed(Exception):
    """A command did not end as it should."""


@dataclass(frozen=True)
class Spent:
    """What one run of a command has cost.

    Attributes:
        seconds: from its start to its end.
        cpu: CPU seconds of the command itself.
        servers: CPU seconds of each server meanwhile.
        held: the most memory of each server, in bytes, as looked at every other second; what
            its processes share counts once, where the system can tell.
        others: CPU seconds that everything else on this machine took meanwhile.
        peak: the most memory that the command held, in bytes; of several processes together, as
            looked at twice a second.
        output: its last line.
    """

    seconds: float
    cpu: float
    servers: dict[str, float]
    held: dict[str, int]
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
    return run_together([command], environment, servers)[0]


def run_together(
    commands: Sequence[Sequence[str]],
    environment: Mapping[str, str],
    servers: Mapping[str, psutil.Process],
) -> list[Spent]:
    """Runs commands side by side, each as `run` does, until all have ended.

    What servers and others spent is told of all commands together, with each of them.

    Raises:
        CommandFailed: one did not exit with 0.
    """
    before, busy = {name: _cpu(each) for name, each in servers.items()}, _busy()
    with ExitStack() as stack:
        held = {
            name: stack.enter_context(_watched(each.pid, shared=True))
            for name, each in servers.items()
        }
        running = [stack.enter_context(_started(each, environment)) for each in commands]
        for each in running:
            each.process.wait()
        ended = [each.ended() for each in running]
        cpus = [
            max(spent["cpu"], sum(each.seen.cpu.values()))
            for spent, each in zip(ended, running, strict=True)
        ]
        theirs = {name: _cpu(each) - before[name] for name, each in servers.items()}
        others = max(0.0, _busy() - busy - sum(cpus) - sum(theirs.values()))
        return [
            Spent(
                seconds=spent["seconds"],
                cpu=cpu,
                servers=theirs,
                held={name: seen.peak for name, seen in held.items()},
                others=others,
                peak=max(spent["peak"] * _RSS_UNIT, each.seen.peak),
                output=spent["output"],
            )
            for spent, cpu, each in zip(ended, cpus, running, strict=True)
        ]


@dataclass
class _Seen:
    """What processes were seen to have spent.

    Attributes:
        peak: the most memory that they held together, in bytes.
        cpu: CPU seconds of each, by its number, when it was seen last.
    """

    peak: int = 0
    cpu: dict[int, float] = field(default_factory=dict[int, float])


@dataclass(frozen=True)
class _Running:
    """A command that was started, and the files that it writes."""

    command: Sequence[str]
    process: "subprocess.Popen[bytes]"
    output: IO[bytes]
    log: IO[bytes]
    result: IO[bytes]
    seen: _Seen

    def ended(self) -> dict[str, Any]:
        """What `launch` noted, and the last line of the output."""
        spent = json.load(self.result)
        self.output.seek(0)
        self.log.seek(0)
        lines = self.output.read().decode().splitlines()
        if spent["code"] != 0:
            said = self.log.read().decode(errors="replace").splitlines()
            tail = "\n".join([*said[-15:], *lines[-1:]])
            raise CommandFailed(f"{Path(self.command[0]).name} exited {spent['code']}:\n{tail}")
        return {**spent, "output": lines[-1] if lines else ""}


@contextmanager
def _started(command: Sequence[str], environment: Mapping[str, str]) -> Generator[_Running]:
    """A command at work; it is ended where the block is left by an error."""
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
                yield _Running(command, process, output, log, result, seen)
        except BaseException:
            end(process)
            raise


@contextmanager
def _watched(pid: int, *, shared: bool = False) -> Generator[_Seen]:
    """What is below a process, looked at twice a second; of a server the process itself as well.

    Args:
        pid: the process.
        shared: whether its processes share memory, which is to count once, and it counts itself.
    """
    seen, over = _Seen(), threading.Event()

    def look() -> None:
        while not over.wait(_SELDOM if shared else _LOOK):
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                every = process.children(recursive=True)
                if shared:
                    seen.peak = max(seen.peak, sum(map(_held, [process, *every])))
                    continue
                seen.cpu |= {each.pid: sum(each.cpu_times()[:2]) for each in every}
                seen.peak = max(seen.peak, sum(each.memory_info().rss for each in every))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _held(process: psutil.Process) -> int:
    """Bytes of memory, of shared pages its part; 0 of a process that has ended."""
    with suppress(psutil.Error):
        try:
            return int(process.memory_full_info().pss)
        except (AttributeError, psutil.AccessDenied):
            return int(process.memory_info().rss)
    return 0


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process that was started in a session of its own, with all of its group."""
    if process.poll() is not None:
        return
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(_GRACE)
    except BaseException as error:  # as well where whoever waits is asked once more to end
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


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
