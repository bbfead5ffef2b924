"""The head of a file whose writing is not known yet: encoding, delimiter, header, cells."""

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from assay.domain.dialect import BYTE_ORDER_MARKS
from assay.domain.errors import Unreadable

_DELIMITERS: Final = (",", ";", "\t", "|")
# https://en.wikipedia.org/wiki/List_of_file_signatures
_SIGNATURES: Final = (
    (b"PK\x03\x04", "an Excel file or an archive: save its table as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Excel file: save its table as CSV"),
    (b"%PDF-", "a PDF: ask for the same as CSV"),
    (b"\x1f\x8b", "compressed: its name must end in .gz"),
    (b"\x28\xb5\x2f\xfd", "compressed: its name must end in .zst"),
)
_OTHER_TEXT: Final = re.compile(r"\s*(?:[{<]|\[\s*[{\[\"])")
_DATE: Final = re.compile(r"[0-9]{1,4}[-./][0-9]{1,2}[-./][0-9]{1,4}")
_NO_TEXT: Final = re.compile(r"[\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True)
class Head:
    """What the head of a file shows.

    Attributes:
        encoding: of the file.
        delimiter: between cells.
        header: the names of the columns.
        columns: the cells of each, of the records that are as wide as the header.
    """

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]

    def column(self, number: int) -> tuple[str, ...]:
        """The cells of a column that hold something."""
        return tuple(cell.strip() for cell in self.columns[number] if cell.strip())


def read_head(sample: bytes) -> Head:
    """Finds out how a file is written, by its first bytes.

    Raises:
        Unreadable: it is no delimited text with a header; says what it is instead.
    """
    for signature, what in _SIGNATURES:
        if sample.startswith(signature):
            raise Unreadable(f"this is no CSV but {what}")
    encoding, text = _decoded(sample)
    if not text.strip():
        raise Unreadable("the file is empty; draft the contract from one with a header")
    if _OTHER_TEXT.match(text):
        raise Unreadable("this is no CSV but looks like JSON, XML or HTML; ask for the same as CSV")
    lines = list(io.StringIO(text, newline=""))
    if len(lines) > 1 and not lines[-1].endswith(("\r", "\n")):
        lines.pop()  # the sample may end inside it
    read = {each: _rows(lines, each) for each in _DELIMITERS}

    def fit(delimiter: str) -> tuple[int, int]:
        rows = read[delimiter]
        width = len(rows[0]) if rows else 0
        return sum(len(row) == width for row in rows) if width > 1 else 0, width

    delimiter = max(_DELIMITERS, key=fit)
    rows = read[delimiter]
    header = tuple(name.strip() for name in rows[0]) if rows else ()
    if len(header) < 2 or any(map(_NO_TEXT.search, header)):  # noqa: PLR2004 - date and amount
        raise Unreadable(
            "this is no table: its first line is not cut into cells by a comma, semicolon, tab or "
            "|, as a header with a date and an amount at least would be"
        )
    if any(map(_DATE.match, header)):
        raise Unreadable("the first line looks like a record; put a header above it")
    even = [row for row in rows[1:] if len(row) == len(header)]
    if len(even) < len(rows[1:]) / 2:
        raise Unreadable(
            f"this is no table, or it does not begin with its header: the first line has "
            f"{len(header)} cells, and most lines below it have others; take out what stands above"
        )
    columns = tuple(zip(*even, strict=True)) or ((),) * len(header)
    return Head(encoding, delimiter, header, columns)


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:  # then it is another one
        return []


def _decoded(sample: bytes) -> tuple[str, str]:
    for mark, encoding in BYTE_ORDER_MARKS:
        if sample.startswith(mark):
            return encoding, sample[len(mark) :].decode(encoding, "replace")
    if sample[1::2].count(0) > len(sample) // 4:
        return "utf-16-le", sample.decode("utf-16-le", "replace")
    if sample[::2].count(0) > len(sample) // 4:
        return "utf-16-be", sample.decode("utf-16-be", "replace")
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252", sample.decode("cp1252", "replace")
