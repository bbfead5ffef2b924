"""Connections on which every wait ends when the time of the whole call is over.

The timeouts of HTTP libraries are those of a single read or write, which an answer that drips never
exceeds. Here each wait gets no more than what is left of the call that its thread is in.
"""

import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from contextvars import ContextVar
from ssl import SSLContext
from typing import Any, Final

import httpx
from httpcore import (
    SOCKET_OPTION,
    ConnectionPool,
    NetworkBackend,
    NetworkStream,
    ReadTimeout,
    SyncBackend,
)

_SLICE: Final = 64 << 10
"""Bytes written at once: what the buffer of a socket takes without many waits."""

_end: ContextVar[float] = ContextVar("end")


@contextmanager
def within(seconds: float) -> Generator[None]:
    """All waits of this block together take no longer; then `httpx.ReadTimeout`."""
    token = _end.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _end.reset(token)


def _left(most: float | None) -> float:
    left = _end.get() - time.monotonic()
    if left <= 0:
        raise ReadTimeout("the time of the call is over")
    return left if most is None else min(left, most)


class BoundedTransport(httpx.HTTPTransport):
    """A transport of httpx for calls that are made `within` so many seconds."""

    def __init__(self, verify: SSLContext, limits: httpx.Limits) -> None:
        super().__init__(verify=verify, limits=limits)
        # httpx hands on all but the backend, which is where the waits are.
        self._pool = ConnectionPool(
            ssl_context=verify,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_BoundedBackend(),
        )


class _BoundedBackend(NetworkBackend):
    """Connections of calls that are made `within` so many seconds."""

    def __init__(self) -> None:
        self._inner = SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> NetworkStream:
        """A connection, made in the time that is left."""
        stream = self._inner.connect_tcp(host, port, _left(timeout), local_address, socket_options)
        return _BoundedStream(stream)


class _BoundedStream(NetworkStream):
    def __init__(self, inner: NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _SLICE):
            self._inner.write(buffer[start : start + _SLICE], _left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> NetworkStream:
        return _BoundedStream(
            self._inner.start_tls(ssl_context, server_hostname, _left(timeout)),
        )

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
