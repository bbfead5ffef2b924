"""Delimited text: bytes -> physical records -> cells, a whole block at a time.

Follows RFC 4180, with the terminators CR, LF and CRLF in any mixture. A quote opens a field only
at the field's start and is doubled inside it; anywhere else it is an ordinary character. A line
of no bytes is no record.
"""

import codecs
import csv
import re
from bisect import bisect_left
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import accumulate
from typing import Final, Literal, TypeAlias, cast

import polars as pl

from assay.domain.dialect import Dialect
from assay.domain.errors import Unreadable
from assay.domain.reject import RAW_LIMIT, faults

SPLIT: Final = pl.Schema(
    {"raw": pl.Binary, "length": pl.Int64, "sha256": pl.Binary, "fault": pl.String}
)
"""What a `Splitter` hands out; see `RECORDS` in `assay.domain.chunk`."""

_MARKS: Final = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LONGEST_MARK: Final = 4
_GLANCE: Final = 1 << 14  # bytes
_HEADER_LIMIT: Final = 1 << 16  # bytes; every reject keeps a copy
_WIDE: Final = ("utf-16", "utf-32")
_NEWLINE: Final = re.compile(rb"[\r\n]")
_NEWLINES: Final = (b"\r", b"\n")
_MESSAGES: Final = {
    "unclosed_quote": "a quote opens a field and is not closed within 1 MiB or by the file's end",
    "record_too_long": "the record is longer than 1 MiB",
    "invalid_encoding": "the record is not written in an encoding that the contract names",
    "malformed_quotes": "a quoted field is not followed by a delimiter or the record's end",
}

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
            delimiter, quote = _hex(dialect.delimiter), _hex(dialect.quote)
            self._stop = re.compile(rf"[\r\n]|{delimiter}(?={quote})".encode())
            self._quotes = re.compile(rf"{quote}+".encode())
            closed = _pattern(
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
            for mark, marked in _MARKS:
                if data.startswith(mark):
                    data, encoding, self._mark = data[len(mark) :], marked, codecs.BOM_UTF8
                    break
            name = _canonical(encoding)
            if name.startswith(_WIDE):
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


def dialect_of(header: bytes, dialect: Dialect) -> Dialect:
    """The dialect of the records below a header: a byte order mark says that they are UTF-8."""
    if header.startswith(codecs.BOM_UTF8):
        return replace(dialect, encoding="utf-8", fallback_encodings=())
    return dialect


def header_cells(raw: bytes, dialect: Dialect) -> list[str]:
    """The names in a header record, without the blanks around them.

    Raises:
        Unreadable: it cannot be decoded, is no well-formed record, or is longer than 64 KiB.
    """
    if len(raw) > _HEADER_LIMIT:
        raise Unreadable("the header is longer than 64 KiB; is this a file of delimited text?")
    text = _decode(pl.Series([raw.removeprefix(codecs.BOM_UTF8)]), dialect_of(raw, dialect))[0]
    if text is None:
        raise Unreadable(
            "the header cannot be decoded; say in the contract which encoding the file has"
        )
    if dialect.quote is None or dialect.quote not in text:
        return [name.strip() for name in text.split(dialect.delimiter)]
    if re.fullmatch(_pattern(dialect), text) is None:
        raise Unreadable("the header's quotes do not match; mend the file, or the contract's quote")
    return [name.strip() for name in _rows([text], dialect)[0]]


def cells(records: pl.DataFrame, width: int, dialect: Dialect) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Cuts records into their cells.

    Args:
        records: `row`, `raw` and `fault`, of one or more files with the same header.
        width: how many cells each must have.
        dialect: of these files; see `dialect_of`.

    Returns:
        Those that are well-formed, as `row` and the text of each cell, without its quotes, in
        string columns named by their number from `0`; and the others, shaped as `REJECTS`. Both
        are sorted by row; together they hold each row once.
    """
    text = pl.col("text")
    texts = records.select("row", "fault", _decode(records["raw"], dialect).alias("text"))
    code = pl.coalesce("fault", pl.when(text.is_null()).then(pl.lit("invalid_encoding")))
    texts = texts.with_columns(code.alias("code"))
    broken = texts.filter(pl.col("code").is_not_null()).select("row", "code")
    sound = texts.filter(pl.col("code").is_null()) if broken.height else texts

    quoted = pl.repeat(value=False, n=sound.height, eager=True)
    if dialect.quote is not None:
        quoted = sound["text"].str.contains(dialect.quote, literal=True)
    good, uneven = _split(sound.filter(~quoted), width, dialect.delimiter)
    if dialect.quote is not None and quoted.any():
        some = sound.filter(quoted)
        well_formed = some["text"].str.contains(f"^(?:{_pattern(dialect)})$")
        simple = some["text"].str.contains(_simple(dialect))
        malformed = some.filter(~well_formed).select("row", code=pl.lit("malformed_quotes"))
        broken = pl.concat([broken, malformed])
        even, odd = _split(some.filter(simple), width, dialect.delimiter)
        even = even.with_columns(pl.exclude("row").str.strip_chars(dialect.quote))
        rest, rest_odd = _parse(some.filter(well_formed & ~simple), width, dialect)
        good = pl.concat([good, even, rest]).sort("row")
        uneven = pl.concat([uneven, odd, rest_odd])

    rejects = pl.concat(
        [
            broken.with_columns(pl.col("code").replace_strict(_MESSAGES).alias("message")),
            uneven.select(
                "row",
                pl.lit("wrong_field_count").alias("code"),
                (pl.col("found").cast(pl.String) + f" cells where the header has {width}").alias(
                    "message"
                ),
            ),
        ]
    )
    return good, faults(rejects.sort("row"), stage="decode")


def _split(plain: pl.DataFrame, width: int, delimiter: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The cells of records whose delimiters all delimit; of the others how many they have."""
    text = pl.col("text")
    counted = plain.with_columns(
        (text.str.count_matches(delimiter, literal=True) + 1).alias("found")
    )
    cut = text.str.split_exact(delimiter, width - 1)
    even = (
        counted.filter(pl.col("found") == width)
        .select("row", cut.struct.rename_fields([str(number) for number in range(width)]))
        .unnest("text")  # as an expression it takes time quadratic in the width
    )
    return even, counted.filter(pl.col("found") != width).select("row", "found")


def _parse(quoted: pl.DataFrame, width: int, dialect: Dialect) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The same of any well-formed records."""
    rows = _rows(quoted["text"], dialect)
    found = pl.Series("found", map(len, rows), dtype=pl.UInt32)
    columns = zip(*(row for row in rows if len(row) == width), strict=True)
    schema = {str(number): pl.String for number in range(width)}
    cut = pl.DataFrame(list(columns) or None, schema=schema, orient="col")
    numbers = quoted.select("row").filter(found == width)
    return (
        pl.concat([numbers, cut], how="horizontal"),
        quoted.select("row", found).filter(found != width),
    )


def _rows(texts: Iterable[str], dialect: Dialect) -> list[list[str]]:
    # Ours may be longer than the module's default limit, which holds for the whole process.
    csv.field_size_limit(max(csv.field_size_limit(), RAW_LIMIT))
    reader = csv.reader(
        texts, delimiter=dialect.delimiter, quotechar=dialect.quote, doublequote=True, strict=True
    )
    return list(reader)


def _decode(raw: pl.Series, dialect: Dialect) -> pl.Series:
    """The text of each record; null where no encoding fits."""
    name = _canonical(dialect.encoding)
    # What was wider the splitter has made UTF-8.
    encodings = ("utf-8",) if name.startswith(_WIDE) else (name, *dialect.fallback_encodings)
    if encodings[0] == "utf-8":
        with suppress(pl.exceptions.ComputeError):  # one bad record fails the column
            return raw.cast(pl.String)
    return pl.Series([_first_fit(each, encodings) for each in raw], dtype=pl.String)


def _first_fit(raw: bytes, encodings: Iterable[str]) -> str | None:
    for encoding in encodings:
        with suppress(UnicodeDecodeError):
            return raw.decode(encoding)
    return None


def _canonical(encoding: str) -> str:
    """Python's name of an encoding, with the byte order that files without a mark mostly have."""
    name = codecs.lookup(encoding).name
    return {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "utf-32": "utf-32-le"}.get(name, name)


def _hex(character: str) -> str:
    """An ASCII character as it may stand in any regular expression."""
    return f"\\x{ord(character):02x}"


def _pattern(dialect: Dialect, *, after: str = "") -> str:
    """The pattern of a well-formed record.

    Args:
        dialect: with a quote.
        after: what else may stand between a closing quote and the next delimiter.
    """
    delimiter, quote = _hex(dialect.delimiter), _hex(dialect.quote or "")
    inside = f"[^{quote}]*(?:{quote}{quote}[^{quote}]*)*"
    plain = f"[^{delimiter}{quote}\\r\\n][^{delimiter}\\r\\n]*"
    one = f"(?:{quote}{inside}{quote}{after}|{plain})?"
    return f"{one}(?:{delimiter}{one})*"


def _simple(dialect: Dialect) -> str:
    """The pattern of a record whose delimiters all delimit and whose quotes enclose cells."""
    delimiter, quote = _hex(dialect.delimiter), _hex(dialect.quote or "")
    one = f"(?:{quote}[^{delimiter}{quote}]*{quote}|[^{delimiter}{quote}]*)"
    return f"^{one}(?:{delimiter}{one})*$"
