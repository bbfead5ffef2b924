"""One server: started, stopped, and broken on purpose."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import psutil

from assay_local import folder, ports, processes
from assay_local.errors import LocalError, PortTakenError, ServerError, SetupError
from assay_local.service import Service, Site

PATIENCE = 60.0
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.2
TAIL = 15

Started = Literal["started", "replaced", "started anew", "running", "external"]
"""Replaced: it did not answer; started anew: it obeyed other settings."""


class Server:
    """A server at one address, which stays the same however often it is stopped and started.

    Attributes:
        service: What it is.
        external: Whether somebody else runs it; it can then be used and nothing else.
    """

    def __init__(
        self,
        service: Service,
        data: Path,
        external: dict[str, str] | None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.service = service
        self.external = external is not None
        self._data = data
        self._external = external
        self._environment = {
            name: value
            for name, value in {**(environment or {}), **os.environ}.items()
            if name.startswith("ASSAY_")
        }
        self._guarded: processes.Guarded | None = None

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    @property
    def settings(self) -> dict[str, str]:
        """The variables that clients read, with their values."""
        if self._external is not None:
            return self._external
        return dict(zip(self.service.keys, self.service.values(self.site), strict=True))

    @property
    def url(self) -> str:
        """Where clients find it."""
        return self.settings[self.service.keys[0]]

    @property
    def entry(self) -> folder.Entry:
        """What is remembered of it."""
        if self.external:
            raise SetupError(
                f"{self.name} is not run by us: {self.service.keys[0]} names it in the environment."
            )
        return folder.read(self._data)[self.name]

    @property
    def site(self) -> Site:
        """Where it lives."""
        return folder.site(self._data, self.name, self.entry)

    @property
    def log(self) -> Path:
        """The file that its output goes to."""
        return folder.log(self._data, self.name)

    @property
    def process(self) -> psutil.Process | None:
        """Its process, if it runs."""
        return processes.find(self.entry.process)

    def answers(self) -> bool:
        """Whether it serves now; a server that neither serves nor refuses takes two seconds."""
        with suppress(OSError):
            return self.service.answers(self.site)
        return False

    def start(self, abandoned: Callable[[], bool] = lambda: False) -> Started:
        """Brings it up at its address and returns when it serves.

        A server that runs and serves is left as it is, unless it obeys other settings; one that
        does not serve is replaced. It ends with this process, until `release`.

        Args:
            abandoned: Asked while waiting; when it says so, the start is undone.

        Raises:
            PortTakenError: Another program has its port.
            ServerError: It ended, or does not serve after a minute.
        """
        if self.external:
            return "external"
        done: Started = "started"
        if (process := self.process) is not None:
            if not self.answers():
                processes.kill_tree(process)
                done = "replaced"
            elif self.obeyed() in (None, self._obeyed_in(self._environment)):
                return "running"
            else:
                self.stop()
                done = "started anew"
        self._end_guard()
        self.service.settle(self.site)
        self._launch(abandoned)
        return done

    def obeyed(self) -> dict[str, str] | None:
        """The settings of the user that it was started with; None where that is not known."""
        running = self.process and processes.environment(self.process)
        return None if running is None else self._obeyed_in(running)

    def _obeyed_in(self, settings: Mapping[str, str]) -> dict[str, str]:
        begin = self.service.obeys
        return {name: settings[name] for name in settings if begin and name.startswith(begin)}

    def _launch(self, abandoned: Callable[[], bool]) -> None:
        begin = folder.rotate(self.log)
        if not ports.wait_free(self.site.ports, seconds=1):
            raise self._port_taken(begin)
        try:
            launch = self.service.launch(self.site)
            if self.service.obeys:
                launch = replace(launch, env={**self._environment, **launch.env})
            self._guarded = processes.start(launch, self.service.stop, self.log)
        except processes.StartError as error:
            raise self._failure(f"could not be started: {error}", begin) from error
        entry = replace(self.entry, process=self._guarded.identity, version=self.service.version())
        folder.remember(self._data, self.name, entry)
        deadline = time.monotonic() + PATIENCE
        pause = FIRST_PAUSE
        while not (self.answers() and self.process):
            if self.process is None:
                code = self._end_guard()
                if not all(map(ports.is_free, entry.ports)):
                    raise self._port_taken(begin)
                raise self._failure("ended while starting", begin, code)
            if abandoned():
                self.stop()
                raise self._failure("was interrupted while starting", begin)
            if time.monotonic() > deadline:
                self.stop()
                raise self._failure(f"did not answer within {PATIENCE:.0f} s", begin)
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    def _port_taken(self, begin: int) -> PortTakenError:
        reason = f"found port {self.site.port} taken by another program"
        return PortTakenError(self.name, reason, self.log, self._tail(begin))

    def _failure(self, reason: str, begin: int, code: int | None = None) -> ServerError:
        return ServerError(self.name, reason, self.log, self._tail(begin), code)

    def _tail(self, begin: int) -> str:
        """The last lines written since the log had that length."""
        if not self.log.exists():
            return ""
        written = self.log.read_bytes()[begin:].decode(errors="replace")
        return "\n".join(written.splitlines()[-TAIL:])

    def release(self) -> None:
        """Lets it go on when this process ends."""
        if self._guarded is not None:
            self._guarded.release()
            self._guarded = None

    def stop(self) -> None:
        """Ends it in an orderly way, within seconds, and remembers that it was meant to end."""
        if (process := self.process) is not None:
            processes.stop(process, self.service.stop)
        self._end_guard()
        folder.remember(self._data, self.name, replace(self.entry, process=None))

    def close(self) -> None:
        """Stops it if it would end with this process."""
        if self._guarded is not None:
            self.stop()

    def restart(self) -> None:
        """Stops it in an orderly way and starts it at the same address."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """Ends it with SIGKILL, its child processes too; returns when they are gone."""
        processes.kill_tree(self._running())
        self._end_guard()

    def pause(self) -> None:
        """Freezes it: its port accepts connections, and nothing answers."""
        processes.signal_tree(self._running(), signal.SIGSTOP)

    def resume(self) -> None:
        """Undoes `pause`."""
        processes.signal_tree(self._running(), signal.SIGCONT)

    def _running(self) -> psutil.Process:
        process = self.process
        if process is None:
            raise LocalError(f"{self.name} is not running.")
        return process

    def _end_guard(self) -> int | None:
        """The server's exit code where it ended by itself."""
        guarded, self._guarded = self._guarded, None
        return None if guarded is None else guarded.end()
