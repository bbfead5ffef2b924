"""Whatever the bytes are: every physical record comes out once, however the file is cut."""

import csv
import io
import re
from hashlib import sha256
from itertools import pairwise
from typing import Literal

import polars as pl
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from assay.domain.dialect import Dialect
from assay.domain.reject import REJECTS
from assay.wire.csv import cells, header_cells
from assay.wire.splitter import Splitter

SEMICOLON = Dialect(delimiter=";")
# Where it quotes only what it must, the writer leaves newlines other than its own unquoted.
STYLES = (
    ("\n", csv.QUOTE_ALL),
    ("\r", csv.QUOTE_ALL),
    ("\r\n", csv.QUOTE_ALL),
    ("\r\n", csv.QUOTE_MINIMAL),
)
text = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
awkward = st.text(st.sampled_from('";\r\n\x00\x0b\x1c\x85\u2028 aé'), max_size=6)


def split(content: bytes, cuts: list[int], dialect: Dialect) -> tuple[bytes | None, pl.DataFrame]:
    """Header and records of a file that comes in these blocks."""
    splitter = Splitter(dialect)
    edges = [0, *sorted(cut % (len(content) + 1) for cut in cuts), len(content)]
    frames = [splitter.feed(content[start:end]) for start, end in pairwise(edges)]
    frame = pl.concat([*frames, splitter.close()]).with_row_index("row")
    return splitter.header, frame


@st.composite
def matrices(draw: st.DrawFn) -> list[list[str]]:
    """Header and rows of one width; the header's names are what they are after stripping."""
    width = draw(st.integers(1, 4))
    row = st.lists(text | awkward, min_size=width, max_size=width)
    return draw(st.lists(row, min_size=1, max_size=6))


@given(
    matrices(),
    st.sampled_from(STYLES),
    st.lists(st.integers(0), max_size=8),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-be"]),
)
def test_what_a_csv_writer_wrote_comes_back(
    matrix: list[list[str]],
    style: tuple[str, Literal[0, 1]],
    cuts: list[int],
    encoding: str,
) -> None:
    """Cells written with any terminator, encoding and cut into blocks come back as they were."""
    terminator, quoting = style
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=";", lineterminator=terminator, quoting=quoting).writerows(matrix)
    assume(not out.getvalue().startswith("\ufeff"))  # that would be a byte order mark
    header, records = split(
        out.getvalue().encode(encoding), cuts, Dialect(delimiter=";", encoding=encoding)
    )
    assert header is not None
    assert header_cells(header, SEMICOLON) == [cell.strip() for cell in matrix[0]]
    good, rejects = cells(records, len(matrix[0]), SEMICOLON)
    assert rejects.is_empty()
    assert [list(row[1:]) for row in good.rows()] == matrix[1:]


structured = st.lists(
    st.sampled_from(
        [b'"', b'""', b";", b"\r", b"\n", b"\r\n", b"a", b"\x00", b"\xff", b"\xc3\xa9", b" "]
    ),
    max_size=40,
).map(b"".join)
encodings = st.sampled_from(["utf-8", "cp1252", "utf-16", "utf-16-be", "utf-32", "latin-1"])


@given(
    structured | st.binary(max_size=60),
    st.lists(st.integers(0), max_size=8),
    encodings,
    st.integers(1, 4),
)
@example(b"\xff\xfe\x00\xd8", [2], "utf-8", 1)
@settings(max_examples=500)
def test_arbitrary_bytes_come_out_once_however_they_are_cut(
    content: bytes, cuts: list[int], encoding: str, width: int
) -> None:
    """No bytes raise; each record is cells or a reject; the blocks make no difference."""
    dialect = Dialect(delimiter=";", encoding=encoding, fallback_encodings=("cp1252",))
    header, records = split(content, cuts, dialect)
    whole_header, whole = split(content, [], dialect)
    assert header == whole_header
    assert records.equals(whole)
    good, rejects = cells(records, width, dialect)
    assert sorted([*good["row"], *rejects["row"]]) == list(range(records.height))
    assert rejects.schema == REJECTS
    assert all(each is not None for row in good.rows() for each in row)


@given(structured, st.lists(st.integers(0), max_size=8))
@settings(max_examples=500)
def test_the_raw_records_are_the_file(content: bytes, cuts: list[int]) -> None:
    """Between and around the raw records lies nothing but newlines."""
    header, records = split(content, cuts, SEMICOLON)
    rest = content
    for raw in ([] if header is None else [header]) + records["raw"].to_list():
        before, found, rest = rest.partition(raw)
        assert found
        assert re.fullmatch(rb"[\r\n]*", before)
    assert re.fullmatch(rb"[\r\n]*", rest)


def reference(content: bytes, limit: int) -> list[tuple[bytes, int, str | None]]:
    """What a splitter must find, one byte after the other: head, length and fault of each record.

    Fields are separated by `;`, quoted by `"`, and `limit` stands for the mebibyte.
    """

    def close(opening: int) -> int | None:
        at = opening + 1
        while at < len(content):
            if content[at : at + 2] == b'""':
                at += 2
            elif content[at : at + 1] == b'"':
                return at if at - opening <= limit else None
            else:
                at += 1
        return None

    records: list[tuple[bytes, int, str | None]] = []
    at = 0
    while at < len(content):
        start, opens, fault = at, True, None
        while at < len(content) and content[at : at + 1] not in {b"\r", b"\n"}:
            if opens and content[at : at + 1] == b'"' and fault is None:
                closing = close(at)
                if closing is None:
                    fault = "unclosed_quote"
                else:
                    at, opens = closing + 1, False
                    continue
            opens = content[at : at + 1] == b";"
            at += 1
        if at > start:
            long = at - start > limit
            records.append(
                (content[start:at][:limit], at - start, "record_too_long" if long else fault)
            )
        at += 1
    return records


@given(structured, st.lists(st.integers(0), max_size=8), st.sampled_from([4, 7, 1 << 20]))
@example(b'aaaaaa;"\n"', [9], 4)  # cut between the delimiter and the quote of a long record
@example(b'aaaaaa;"b""c\n"', [12], 7)  # cut between two quotes of one
@settings(max_examples=1000)
def test_limits_hold_to_the_byte_wherever_the_blocks_end(
    content: bytes, cuts: list[int], limit: int
) -> None:
    """Open quotes and long records are found as one who reads byte by byte would find them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("assay.wire.splitter.RAW_LIMIT", limit)
        patch.setattr("assay.wire.splitter._GLANCE", min(limit, 1 << 14))
        _, records = split(b"h\n" + content, cuts, SEMICOLON)
    expected = reference(content, limit)
    assert records.select("raw", "length", "fault").rows() == expected
    at = 0
    for (_, length, _), digest in zip(expected, records["sha256"], strict=True):
        while content[at : at + 1] in {b"\r", b"\n"}:
            at += 1
        assert digest == (sha256(content[at : at + length]).digest() if length > limit else None)
        at += length
