"""How bytes become records and cells: terminators, quotes, encodings, and input that hurts."""

import codecs
import tracemalloc
from collections.abc import Iterable, Iterator
from hashlib import sha256
from time import process_time

import polars as pl
import pytest

from assay.domain.dialect import Dialect
from assay.domain.errors import Unreadable
from assay.domain.reject import RAW_LIMIT
from assay.wire.csv import cells, dialect_of, header_cells
from assay.wire.splitter import Splitter

COMMA = Dialect()
MIB = 1 << 20


def split(blocks: Iterable[bytes], dialect: Dialect = COMMA) -> tuple[bytes | None, pl.DataFrame]:
    """Header and records of a file that comes in these blocks."""
    splitter = Splitter(dialect)
    frames = [splitter.feed(block) for block in blocks]
    records = pl.concat([*frames, splitter.close()]).with_row_index("row")
    return splitter.header, records


def raws(content: bytes, dialect: Dialect = COMMA) -> list[bytes]:
    """The records below the header, fed byte by byte."""
    return split((bytes([byte]) for byte in content), dialect)[1]["raw"].to_list()


def test_every_terminator_ends_a_record_in_any_mixture() -> None:
    """CR, LF and CRLF end records, also where a block ends between CR and LF."""
    assert raws(b"h\r\na\rb\nc\r\n\r\nd\n\re") == [b"a", b"b", b"c", b"d", b"e"]


def test_other_line_breaks_of_unicode_are_text() -> None:
    """Vertical tab, form feed, file separator, NEL and U+2028 end nothing."""
    text = "a\x0bb\x0cc\x1cd\x1ee\x85f\u2028g"
    _, records = split([f"h\n{text}".encode()])
    assert cells(records, 1, COMMA)[0]["0"].to_list() == [text]


def test_a_quote_opens_at_the_start_of_a_field_only() -> None:
    """Quotes inside a field are text; at its start they hold newlines and delimiters together."""
    content = b'h,i\n5" pipe,x\n"a\nb","c,""d"""\n x,"y"\n'
    assert raws(content) == [b'5" pipe,x', b'"a\nb","c,""d"""', b' x,"y"']
    _, records = split([content])
    good, rejects = cells(records, 2, COMMA)
    assert good.rows() == [(0, '5" pipe', "x"), (1, "a\nb", 'c,"d"'), (2, " x", "y")]
    assert rejects.is_empty()


def test_no_quote_in_the_dialect_means_no_quoting() -> None:
    """Without a quote every delimiter delimits and every newline ends a record."""
    dialect = Dialect(quote=None)
    _, records = split([b'h,i\n"a,b"\n"c\n'], dialect)
    good, rejects = cells(records, 2, dialect)
    assert good.rows() == [(0, '"a', 'b"')]
    assert rejects.select("row", "code").rows() == [(1, "wrong_field_count")]


def test_broken_records_say_what_is_wrong_and_cost_no_others() -> None:
    """Ragged, badly quoted and undecodable records are rejects; those around them are not."""
    _, records = split([b'h,i\n1,2\n1\n1,2,3\n"a"b,2\n\xff,2\n3,4\n'])
    good, rejects = cells(records, 2, COMMA)
    assert good.rows() == [(0, "1", "2"), (5, "3", "4")]
    assert rejects.select("row", "code", "stage", "field", "message").rows() == [
        (1, "wrong_field_count", "decode", None, "1 cells where the header has 2"),
        (2, "wrong_field_count", "decode", None, "3 cells where the header has 2"),
        (3, "malformed_quotes", "decode", None, rejects["message"][2]),
        (4, "invalid_encoding", "decode", None, rejects["message"][3]),
    ]


def test_an_unclosed_quote_costs_its_own_line() -> None:
    """A quote open at the end of the file ends its record at the first newline after it."""
    _, records = split([b'h,i\n1,2\n"a\nb","open\n3,4\n5,6\n'])
    assert records.select("raw", "fault").rows() == [
        (b"1,2", None),
        (b'"a\nb","open', "unclosed_quote"),
        (b"3,4", None),
        (b"5,6", None),
    ]
    _, rejects = cells(records, 2, COMMA)
    assert rejects.select("row", "code").rows() == [(1, "unclosed_quote")]


@pytest.mark.parametrize(("length", "closed"), [(RAW_LIMIT, True), (RAW_LIMIT + 1, False)])
@pytest.mark.parametrize("block", [999_983, 3 * MIB])
def test_a_quoted_field_is_closed_within_a_mebibyte_or_not_at_all(
    length: int, block: int, *, closed: bool
) -> None:
    """The limit is exact, wherever the blocks end."""
    field = b'"' + b"x\n" * ((length - 1) // 2) + b"x" * ((length - 1) % 2) + b'"'
    content = b"h\n" + field + b"\nlast\n" + b"y\n" * MIB
    _, records = split(content[at : at + block] for at in range(0, len(content), block))
    assert records["fault"][0] == ("record_too_long" if closed else "unclosed_quote")
    assert records["length"][0] == (len(field) if closed else 2)


def test_an_unclosed_quote_at_the_top_of_a_large_file_takes_linear_time() -> None:
    """Twice the file takes about twice the time, also with doubled quotes all over it."""

    def seconds(size: int) -> float:
        lines = b'h,i\na,"open\n' + b'b,""c"",d\n' * (size // 10)
        start = process_time()
        _, records = split(lines[at : at + 65_536] for at in range(0, len(lines), 65_536))
        assert records.height == lines.count(b"\n") - 1
        return process_time() - start

    seconds(MIB)
    assert seconds(16 * MIB) < 6 * max(seconds(4 * MIB), 0.05)


def test_a_line_of_200_mb_keeps_its_head_and_its_digest_in_bounded_memory() -> None:
    """Of an endless record 1 MiB is kept; its length and SHA-256 are those of the whole."""
    piece = b"0123456789abcdef" * 4096
    times = 200 * MIB // len(piece)

    def blocks() -> Iterator[bytes]:
        yield b"h\n"
        for _ in range(times):
            yield piece
        yield b"\nnext\n"

    tracemalloc.start()
    _, records = split(blocks())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    digest = sha256()
    for _ in range(times):
        digest.update(piece)
    assert records.select("length", "sha256", "fault").row(0) == (
        times * len(piece),
        digest.digest(),
        "record_too_long",
    )
    assert records["raw"].bin.size().to_list() == [RAW_LIMIT, 4]
    assert peak < 16 * MIB


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_goes_before_the_contract(encoding: str) -> None:
    """A file with a mark is read by it, whatever encoding the contract names."""
    declared = Dialect(encoding="cp1252")
    header, records = split([byte.to_bytes() for byte in "é\nü\n".encode(encoding)], declared)
    assert header is not None
    assert header_cells(header, declared) == ["é"]
    good, _ = cells(records, 1, dialect_of(header, declared))
    assert good["0"].to_list() == ["ü"]


def test_a_lone_surrogate_costs_its_own_record() -> None:
    """A unit of UTF-16 that stands for no character is a reject, and half a unit at the end."""
    content = (
        codecs.BOM_UTF16_LE
        + "h\na".encode("utf-16-le")
        + b"\x00\xd8"
        + "\nb\nc".encode("utf-16-le")
    )
    header, records = split([*(byte.to_bytes() for byte in content), b"x"])
    good, rejects = cells(records, 1, dialect_of(header or b"", COMMA))
    assert good.rows() == [(1, "b")]
    assert rejects.select("row", "code").rows() == [
        (0, "invalid_encoding"),
        (2, "invalid_encoding"),
    ]


def test_fallbacks_are_tried_for_the_records_that_need_them() -> None:
    """One record of cp1252 among UTF-8 is read as what it is."""
    dialect = Dialect(fallback_encodings=("ascii", "cp1252"))
    _, records = split([b"h\ncaf\xe9\n", "café\n\x80".encode()])
    good, rejects = cells(records, 1, dialect)
    assert good["0"].to_list() == ["café", "café", "\x80"]
    assert rejects.is_empty()


def test_an_encoding_of_one_byte_knows_what_it_cannot_read() -> None:
    """What cp1252 leaves undefined is a reject."""
    dialect = Dialect(encoding="cp1252")
    _, records = split([b'h\n"\x80"\n\x81\n'], dialect)
    good, rejects = cells(records, 1, dialect)
    assert good["0"].to_list() == ["€"]
    assert rejects.select("row", "code").rows() == [(1, "invalid_encoding")]


def test_a_cell_may_be_as_long_as_a_record() -> None:
    """Quoted cells beyond the limit of Python's own reader are read."""
    long = "x," * 300_000
    _, records = split([b'h\n"', long.encode(), b'"\n'])
    assert cells(records, 1, COMMA)[0]["0"].to_list() == [long]


def test_nothing_comes_of_nothing() -> None:
    """An empty file has no header; one with a header only has no records."""
    assert split([])[0] is None
    header, records = split([b"\n\na,b"])
    assert header == b"a,b"
    assert records.is_empty()
    good, rejects = cells(records, 2, COMMA)
    assert good.columns == ["row", "0", "1"]
    assert rejects.is_empty()


def test_header_names_have_no_blanks_around_them() -> None:
    """Quoted or not, names are stripped."""
    assert header_cells(b' a ,"b, ""c"" "', COMMA) == ["a", 'b, "c"']


def test_wide_records_take_linear_time() -> None:
    """A hundred records of five thousand cells are cut in much less than a second."""
    _, records = split([b"h\n", b"\n".join([b"," * 4_999] * 100)])
    start = process_time()
    good, rejects = cells(records, 5_000, COMMA)
    assert process_time() - start < 3
    assert (good.shape, rejects.height) == ((100, 5_001), 0)


@pytest.mark.parametrize("raw", [b"\xff", b'a,"b', b'"a"b', b"x" * 65_537])
def test_a_header_that_cannot_be_read_stops_the_file(raw: bytes) -> None:
    """Undecodable, badly quoted or endless: the file is unreadable and the message says why."""
    with pytest.raises(Unreadable, match="header"):
        header_cells(raw, COMMA)
