"""Bytes -> physical records of delimited text, a whole block at a time.

Records end with CR, LF or CRLF, in any mixture, outside of quoted fields. A line of no bytes is no
record.
"""

import codecs
import re
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import accumulate
from typing import Final, Literal, TypeAlias, cast

import polars as pl

from assay.domain.dialect import BYTE_ORDER_MARKS, WIDE, Dialect, codec_of
from assay.domain.reject import RAW_LIMIT
from assay.wire.grammar import hexed, record_pattern

SPLIT: Final = pl.Schema(
    {"raw": pl.Binary, "length": pl.Int64, "sha256": pl.Binary, "fault": pl.String}
)
"""What a `Splitter` hands out; see `RECORDS` in `assay.domain.chunk`."""

_LONGEST_MARK: Final = 4
_GLANCE: Final = 1 << 14  # bytes
_NEWLINE: Final = re.compile(rb"[\r\n]")
_NEWLINES: Final = (b"\r", b"\n")

_Mode: TypeAlias = Literal["field", "text", "line"]
"""Where in a record reading stands: before a field, which a quote may open; inside one; or past a
quote that is never closed, where only a newline counts."""


# Makes a unit that stands for no character a lone surrogate, which UTF-8 cannot hold either.
def _undecodable(error: UnicodeError) -> tuple[str, int]:
    return "\udfff", cast(UnicodeDecodeError, error).end


codecs.register_error("assay.undecodable", _undecodable)


class Splitter:
    """Cuts one file into its physical records, the same ones however it is cut into blocks.

    Takes time that is linear in the bytes, and memory for one block and a few MiB, whatever the
    bytes are.

    - A byte order mark is dropped and goes before the dialect's encoding. UTF-16 and UTF-32
      become UTF-8 first; a unit that stands for no character becomes bytes that no UTF-8 holds,
      so that the record around it fails alone, when it is decoded.
    - Fault `unclosed_quote`: a quoted field is not closed within `RAW_LIMIT` bytes or by the end
      of the file. The record ends at the first newline after that quote.
    - Fault `record_too_long`: `raw` is the first `RAW_LIMIT` bytes.

    Attributes:
        header: the first record, as soon as it is complete; it is in no frame. Begins with the
            byte order mark of UTF-8 where the file began with any mark: see `dialect_of`.
    """

    def __init__(self, dialect: Dialect) -> None:
        self.header: bytes | None = None
        self._declared = dialect.encoding
        self._delimiter = dialect.delimiter.encode()
        self._quote = dialect.quote.encode() if dialect.quote else None
        self._stop = _NEWLINE
        if dialect.quote:
            delimiter, quote = hexed(dialect.delimiter), hexed(dialect.quote)
            self._stop = re.compile(rf"[\r\n]|{delimiter}(?={quote})".encode())
            self._quotes = re.compile(rf"{quote}+".encode())
            closed = record_pattern(
                dialect, after=f"(?:[^{delimiter}{quote}\\r\\n][^{delimiter}\\r\\n]*)?"
            )
            self._closed = f"^(?:{closed})$"
            self._whole = re.compile(rf"(?:{closed})(?=[\r\n])".encode())
        self._sniffed = False
        self._mark = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._waiting = bytearray()  # not looked at yet
        self._rest = b""  # the open record, in UTF-8, but for what was taken from it
        self._open()

    def _open(self) -> None:
        self._head = b""
        self._length = 0
        self._digest = sha256()
        self._mode: _Mode = "field"

    def feed(self, block: bytes) -> pl.DataFrame:
        """The records that the next block of the file completes, shaped as `SPLIT`."""
        self._waiting += block
        # A rest is looked at again only when it has doubled, so that small blocks stay linear.
        if len(self._waiting) < max(len(self._rest), 1 if self._sniffed else _LONGEST_MARK):
            return pl.DataFrame(schema=SPLIT)
        return self._split(final=False)

    def close(self) -> pl.DataFrame:
        """The records that the end of the file completes, shaped as `SPLIT`."""
        return self._split(final=True)

    def _split(self, *, final: bool) -> pl.DataFrame:
        buffer = self._rest + self._utf8(final=final)
        found = _Found()
        if buffer or self._length:
            # A CRLF that was cut in two leaves a line of no bytes: nothing.
            start = self._record(buffer, 0, found, final=final) if self._length else 0
            if start is not None:
                start = self._records(buffer, start, found, final=final)
            if start is not None:
                self._rest = buffer[start:]
        frame = found.frame()
        if self.header is None and frame.height:
            self.header = self._mark + found.raw[0]
            frame = frame[1:]
        return frame

    def _utf8(self, *, final: bool) -> bytes:
        """What waits, in UTF-8 or in another encoding that has ASCII in it."""
        data = bytes(self._waiting)
        self._waiting.clear()
        if not self._sniffed:
            self._sniffed = True
            encoding = self._declared
            for mark, marked in BYTE_ORDER_MARKS:
                if data.startswith(mark):
                    data, encoding, self._mark = data[len(mark) :], marked, codecs.BOM_UTF8
                    break
            name = codec_of(encoding)
            if name.startswith(WIDE):
                self._decoder = codecs.getincrementaldecoder(name)("assay.undecodable")
        if self._decoder is None:
            return data
        return self._decoder.decode(data, final).encode("utf-8", "surrogatepass")

    def _records(self, buffer: bytes, start: int, found: "_Found", *, final: bool) -> int | None:
        """Takes all complete records from `start`, where one begins.

        A line that leaves no quote open is a record; only the others are looked at one by one.

        Returns:
            Where the open record begins; None where `_record` has kept the rest of it.
        """
        text = buffer[start:] if start else buffer
        lines = text.splitlines()
        open_line = lines.pop() if lines and not final and not text.endswith(_NEWLINES) else b""
        taken = 0
        suspects = self._suspects(lines, quotes=self._quote is not None and self._quote in text)
        if suspects:
            starts = list(accumulate(map(len, text.splitlines(keepends=True)), initial=start))
            for suspect in suspects:
                if suspect < taken:  # it lies inside the record before
                    continue
                found.take(lines[taken:suspect])
                end = self._record(buffer, starts[suspect], found, final=final)
                if end is None:
                    return None
                taken = bisect_left(starts, end, lo=suspect)
        found.take(lines[taken:] if taken else lines)
        if len(open_line) > RAW_LIMIT:
            return self._record(buffer, len(buffer) - len(open_line), found, final=final)
        return len(buffer) - len(open_line)

    def _suspects(self, lines: list[bytes], *, quotes: bool) -> list[int]:
        """The lines that may be no records as they stand: they are long, or leave a quote open."""
        if not quotes:
            return [number for number, line in enumerate(lines) if len(line) > RAW_LIMIT]
        quote = self._quote or b""
        quoted = [
            number for number, line in enumerate(lines) if quote in line or len(line) > RAW_LIMIT
        ]
        # All that counts here is ASCII, the same in any of the encodings.
        text = pl.Series([lines[number].decode("latin-1") for number in quoted], dtype=pl.String)
        sound = text.str.contains(self._closed) & (text.str.len_chars() <= RAW_LIMIT)
        return pl.Series(quoted, dtype=pl.UInt32).filter(~sound).to_list()

    def _record(self, buffer: bytes, start: int, found: "_Found", *, final: bool) -> int | None:
        """Takes the record that begins, or goes on, at `start`.

        Returns:
            Where the next one begins; None where this one is open and its rest was kept.
        """
        end, settled, mode = self._end(buffer, start, final=final)
        if end is None:
            if self._length or len(buffer) - start > RAW_LIMIT:
                self._take(buffer[start:settled])
                self._mode, start = mode, settled
            self._rest = buffer[start:]
            return None
        self._take(buffer[start:end])
        if self._length > RAW_LIMIT:
            found.add(self._head, "record_too_long", self._length, self._digest.digest())
        elif mode == "line":
            found.add(self._head, "unclosed_quote", self._length)
        else:
            found.take([self._head])
        self._open()
        self._rest = b""
        return end + (2 if buffer.startswith(b"\r\n", end) else 1)

    def _take(self, piece: bytes) -> None:
        if self._length + len(piece) > RAW_LIMIT:
            if self._length <= RAW_LIMIT:
                self._digest.update(self._head)
            self._digest.update(piece)
        self._head += piece[: max(0, RAW_LIMIT - self._length)]
        self._length += len(piece)

    def _end(self, buffer: bytes, start: int, *, final: bool) -> tuple[int | None, int, _Mode]:
        """Looks for the end of the record that begins, or goes on, at `start`.

        Returns:
            Where it ends, or None; up to where later bytes change nothing, and the mode there.
        """
        mode = self._mode
        if mode == "field" and self._quote:  # most are short and closed: one look is enough
            whole = self._whole.match(buffer, start, start + _GLANCE)
            if whole is not None:
                return whole.end(), whole.end(), mode
        while True:
            if mode == "field" and self._quote and buffer.startswith(self._quote, start):
                close = self._close(buffer, start, final=final)
                if close is None:
                    return None, start, mode
                mode, start = ("line", start) if close < 0 else ("text", close + 1)
            stop = (_NEWLINE if mode == "line" else self._stop).search(buffer, start)
            if stop is None:
                if mode != "line" and start < len(buffer):
                    mode = "field" if buffer.endswith(self._delimiter) else "text"
                return (len(buffer) if final else None), len(buffer), mode
            if stop.group() in _NEWLINES:
                return stop.start(), stop.start(), mode
            mode, start = "field", stop.end()

    def _close(self, buffer: bytes, opening: int, *, final: bool) -> int | None:
        """Where the field is closed that a quote opens; -1: nowhere; None: not to be seen yet."""
        limit = opening + RAW_LIMIT
        for run in self._quotes.finditer(buffer, opening + 1, limit + 2):
            if run.end() == len(buffer) and not final:
                return None
            if (run.end() - run.start()) % 2:
                return run.end() - 1 if run.end() - 1 <= limit else -1
        return -1 if final or len(buffer) > limit + 1 else None


@dataclass(frozen=True)
class _Found:
    """Records in order; of those with a fault its code, their length and sha256, by number."""

    raw: list[bytes] = field(default_factory=list[bytes])
    broken: dict[int, tuple[str, int, bytes | None]] = field(
        default_factory=dict[int, tuple[str, int, bytes | None]]
    )

    def take(self, records: Iterable[bytes]) -> None:
        self.raw.extend(filter(None, records))

    def add(self, raw: bytes, fault: str, length: int, digest: bytes | None = None) -> None:
        self.broken[len(self.raw)] = (fault, length, digest)
        self.raw.append(raw)

    def frame(self) -> pl.DataFrame:
        frame = pl.DataFrame({"raw": self.raw}, schema={"raw": pl.Binary}).with_columns(
            pl.col("raw").bin.size().cast(pl.Int64).alias("length"),
            pl.lit(None, pl.Binary).alias("sha256"),
            pl.lit(None, pl.String).alias("fault"),
        )
        if not self.broken:
            return frame
        broken = pl.DataFrame(
            [
                (number, length, digest, fault)
                for number, (fault, length, digest) in self.broken.items()
            ],
            schema={
                "number": pl.UInt32,
                "length": pl.Int64,
                "sha256": pl.Binary,
                "fault": pl.String,
            },
            orient="row",
        )
        return frame.with_row_index("number").update(broken, on="number").drop("number")
