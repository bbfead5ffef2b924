"""The description of a service: everything that differs between one technology and another."""

import http.client
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Account:
    """A user of this machine that a server runs as, when the caller is root and it may not be."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Site:
    """Where one server lives.

    Attributes:
        folder: The server's own folder, inside the data folder; it exists.
        ports: Its ports on 127.0.0.1, as many as the service asks for.
        secret: A password made once for this folder, of URL-safe characters.
        durable: Whether what the server acknowledges must survive the machine's power failing.
        cluster: The ports of all servers of its cluster, itself among them, in an order that stays;
            empty where it is of none.
    """

    folder: Path
    ports: tuple[int, ...]
    secret: str
    durable: bool = True
    cluster: tuple[tuple[int, ...], ...] = ()

    @property
    def port(self) -> int:
        """The first port, where clients connect."""
        return self.ports[0]


@dataclass(frozen=True)
class Launch:
    """How to start a server: its command, which stays in the foreground."""

    argv: list[str]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: Path = Path("/")
    account: Account | None = None


@dataclass(frozen=True, kw_only=True)
class Service:
    """One kind of server.

    Attributes:
        name: As the user types it.
        about: What it is, for people.
        keys: The variables that clients read; the first holds the URL or address, and where the
            environment names that one already, the server there is used and none is started.
        values: The values of those variables for a server at a site.
        version: The version that would be started.
        settle: Puts the folder in order before a start: initialises it the first time, and clears
            away what a killed server left behind.
        launch: The command.
        answers: Whether the server serves now; it takes two seconds at most and raises nothing
            but OSError.
        stop: The signal for an orderly and quick end.
        ports: How many ports it needs.
        missing: What a first start has to fetch, for people; empty where nothing.
        obeys: What the names of settings begin with that are the user's to choose. It gets them as
            they stand in the environment and in .env, and is started anew when they change.
    """

    name: str
    about: str
    keys: tuple[str, ...]
    values: Callable[[Site], tuple[str, ...]]
    version: Callable[[], str]
    settle: Callable[[Site], None]
    launch: Callable[[Site], Launch]
    answers: Callable[[Site], bool]
    stop: signal.Signals
    ports: int = 1
    missing: Callable[[], str] = str
    obeys: str | None = None


def answers_ok(port: int, path: str) -> bool:
    """Whether GET `path` on this machine's `port` answers 200 within two seconds."""
    connection = http.client.HTTPConnection(HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except http.client.HTTPException:
        return False
    finally:
        connection.close()
