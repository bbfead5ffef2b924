"""What can go wrong with a local server, sorted by what the caller may do about it."""

from pathlib import Path


class LocalError(Exception):
    """A local server cannot be had; the message says why and what to do."""

    exit_code = 75


class SetupError(LocalError):
    """The folder, the account or the settings do not allow it: mend them, then try again."""

    exit_code = 78


class ServerError(LocalError):
    """A server did not come up.

    Attributes:
        name: The service.
        log: The file with everything that the server wrote.
        tail: The last lines that it wrote since this start.
        exit_code: 78 where the server itself ended with it, since it has to be mended.
    """

    def __init__(
        self, name: str, reason: str, log: Path, tail: str, ended_with: int | None = None
    ) -> None:
        super().__init__(f"{name} {reason}")
        if ended_with == SetupError.exit_code:
            self.exit_code = SetupError.exit_code
        self.name = name
        self.log = log
        self.tail = tail


class PortTakenError(ServerError):
    """Another program listens on the port that the server was to have."""
