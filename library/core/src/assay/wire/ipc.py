"""The framing of Arrow IPC streams, checked before a reader allocates what a stream asks for.

A length that was damaged, or made up, ends a whole process: it asks for memory that there is
not. So each message must lie inside the body, and each buffer inside its message.

https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
https://flatbuffers.dev/internals/
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MESSAGES: Final = 10_000
"""The most messages that a stream may have."""

END: Final = b"\xff\xff\xff\xff\x00\x00\x00\x00"

_CONTINUATION: Final = 0xFFFF_FFFF
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3


@dataclass(frozen=True)
class _Table:
    """A flatbuffers table: its bytes and where it begins in them."""

    data: memoryview
    start: int

    def _at(self, field: int) -> int | None:
        """Where the value of a field stands; None where it has its default."""
        vtable = self.start - _number("<i", self.data, self.start)
        size = _number("<H", self.data, vtable)
        slot = 4 + 2 * field
        offset = _number("<H", self.data, vtable + slot) if slot + 2 <= size else 0
        return self.start + offset if offset else None

    def number(self, field: int, form: str) -> int:
        """The scalar in a field, 0 by default."""
        at = self._at(field)
        return 0 if at is None else _number(form, self.data, at)

    def table(self, field: int) -> "_Table | None":
        """The table that a field points to."""
        at = self._at(field)
        return None if at is None else _Table(self.data, at + _number("<I", self.data, at))

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """The structs of two 64-bit integers in the vector that a field points to."""
        numbers = self._vector(field, width=16)
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def numbers(self, field: int) -> tuple[int, ...]:
        """The 64-bit integers in the vector that a field points to."""
        return self._vector(field, width=8)

    def _vector(self, field: int, width: int) -> tuple[int, ...]:
        at = self._at(field)
        if at is None:
            return ()
        start = at + _number("<I", self.data, at)
        bytes_ = _number("<I", self.data, start) * width
        if bytes_ > len(self.data):
            raise ValueError("a vector ends behind its message")
        return struct.unpack_from(f"<{bytes_ // 8}q", self.data, start + 4)


def _number(form: str, data: memoryview, at: int) -> int:
    if at < 0:  # would count from the end
        raise ValueError("an offset lies before its message")
    (number,) = struct.unpack_from(form, data, at)
    return int(number)


def check(body: bytes) -> None:
    """Holds the framing of a stream against its size.

    Takes streams that are uncompressed and end with the end-of-stream marker, without which a
    stream that was cut between two messages could not be told from a whole one.

    Raises:
        ValueError: says what is wrong with it.
    """
    try:
        for number, (message, size) in enumerate(_messages(memoryview(body))):
            kind = message.number(1, "<B")
            if (kind == _SCHEMA) != (number == 0):
                raise ValueError("a stream has one schema, at its start")
            if kind not in {_SCHEMA, _DICTIONARY, _RECORDS}:
                raise ValueError("a message is of an unknown kind")
            header = message.table(2)
            if header is None:
                raise ValueError("a message has no header")
            if kind != _SCHEMA:
                _check_batch(header.table(1) if kind == _DICTIONARY else header, size)
    except struct.error:
        raise ValueError("truncated Arrow IPC stream") from None


def _messages(body: memoryview) -> Iterator[tuple[_Table, int]]:
    """Each message's table and the size of the buffers behind it."""
    at = 0
    for _ in range(MESSAGES):
        continuation, length = struct.unpack_from("<Ii", body, at)
        if continuation != _CONTINUATION:
            raise ValueError("not an Arrow IPC stream")
        at += 8
        if length == 0:
            if at != len(body):
                raise ValueError("bytes follow the end of the stream")
            return
        if not 0 < length <= len(body) - at:
            raise ValueError("truncated Arrow IPC stream")
        metadata = body[at : at + length]
        message = _Table(metadata, _number("<I", metadata, 0))
        size = message.number(3, "<q")
        at += length
        if not 0 <= size <= len(body) - at:
            raise ValueError("truncated Arrow IPC stream")
        yield message, size
        at += size
    raise ValueError(f"a stream may have {MESSAGES} messages at most")


def _check_batch(batch: _Table | None, size: int) -> None:
    if batch is None:
        raise ValueError("a batch has no records")
    if batch.table(3) is not None:
        raise ValueError("compressed Arrow IPC streams are not taken")
    rows = batch.number(0, "<q")
    buffers = batch.pairs(2)
    # Each row takes a bit at least: without that bound, columns of nothing could have any height.
    if not 0 <= rows <= 8 * size or any(length != rows for length, _ in batch.pairs(1)):
        raise ValueError("the columns of a batch must be as long as it says")
    if any(offset < 0 or length < 0 or offset + length > size for offset, length in buffers):
        raise ValueError("a buffer lies outside its message")
    if any(not 0 <= count <= len(buffers) for count in batch.numbers(4)):
        raise ValueError("a batch has fewer buffers than it says")
