"""Free ports on this machine."""

import random
import socket
import time
from collections.abc import Sequence

from assay_local.errors import SetupError
from assay_local.service import HOST

# Below those that systems give to outgoing connections (Linux from 32768, macOS from 49152), so
# that a port is still free when its server comes back.
RANGE = range(20000, 32000)
ATTEMPTS = 1000


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket() as candidate:
        # As servers do; a connection that has just ended does not count then.
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind((HOST, port))
        except OSError:
            return False
    return True


def wait_free(ports: Sequence[int], seconds: float) -> bool:
    """Waits until all are free; a killed process may hold its ports for an instant."""
    deadline = time.monotonic() + seconds
    while not all(map(is_free, ports)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def choose(count: int, taken: set[int]) -> tuple[int, ...]:
    """As many different free ports, none of them among those taken."""
    chosen: list[int] = []
    for _ in range(ATTEMPTS):
        port = random.choice(RANGE)  # noqa: S311 - no secret
        if port not in taken and port not in chosen and is_free(port):
            chosen.append(port)
        if len(chosen) == count:
            return tuple(chosen)
    raise SetupError(f"No {count} free ports between {RANGE.start} and {RANGE.stop}.")
