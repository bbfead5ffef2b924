"""Bounds on the head of a call: uvicorn takes one of any length, for as long as it comes."""

import asyncio
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

BYTES: Final = 64 << 10
SECONDS: Final = 30.0


class BoundedHeads(HttpToolsProtocol):
    """HTTP as uvicorn speaks it, with heads of so many bytes and seconds at most."""

    longest, slowest = BYTES, SECONDS
    _length: int | None = 0  # so far; None: the head is there
    _timer: asyncio.TimerHandle | None = None

    def connection_made(  # pyright: ignore[reportIncompatibleMethodOverride] - as uvicorn does
        self, transport: asyncio.Transport
    ) -> None:
        """Waits for the first head."""
        super().connection_made(transport)
        self._await()

    def connection_lost(self, exc: Exception | None) -> None:
        """Waits for nothing any more."""
        self._rest()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Refuses a head that has not ended within its length."""
        super().data_received(data)
        if self._length is None or self.transport.is_closing():
            return
        self._length += len(data)
        if self._length > self.longest:
            self.send_400_response(f"A head may have {self.longest} bytes at most.")

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._await()

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._rest()
        super().on_headers_complete()

    def _await(self) -> None:
        self._rest()
        self._length = 0
        self._timer = self.loop.call_later(self.slowest, self.transport.close)

    def _rest(self) -> None:
        self._length = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
