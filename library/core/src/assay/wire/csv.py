"""Physical records of delimited text -> cells, whole columns at a time."""

import codecs
import csv
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import polars as pl

from assay.domain.dialect import WIDE, Dialect, codec_of
from assay.domain.errors import Unreadable
from assay.domain.reject import RAW_LIMIT, faults
from assay.wire.grammar import record_pattern, simple_pattern

_UNIT: Final = "\x1f"
_HEADER_LIMIT: Final = 1 << 16  # bytes; every reject keeps a copy
_MESSAGES: Final = {
    "unclosed_quote": "a quote opens a field and is not closed within 1 MiB or by the file's end",
    "record_too_long": "the record is longer than 1 MiB",
    "invalid_encoding": "the record is not written in an encoding that the contract names",
    "malformed_quotes": "a quoted field is not followed by a delimiter or the record's end",
}


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
    if re.fullmatch(record_pattern(dialect), text) is None:
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
        well_formed = some["text"].str.contains(f"^(?:{record_pattern(dialect)})$")
        simple = some["text"].str.contains(simple_pattern(dialect))
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


def keys(raw: pl.Series, dialect: Dialect) -> pl.Series:
    """A key for each record: the same where the cells are the same, however they are quoted.

    What is no well-formed text has a key of its bytes. Different records have the same key by
    chance only, one in 2^64.

    Returns:
        UInt64, in the same order.
    """
    text = _decode(raw, dialect)
    # Of records in which all delimiters delimit.
    told = cut = text.str.replace_all(dialect.delimiter, _UNIT, literal=True)
    if dialect.quote is not None:
        simple = text.str.contains(simple_pattern(dialect))
        told = cut.str.replace_all(dialect.quote, "", literal=True)
        if not simple.all():
            well_formed = text.str.contains(f"^(?:{record_pattern(dialect)})$")
            told = told.zip_with(simple.fill_null(value=False), _nothing(raw.len()))
            at = (well_formed & ~simple).fill_null(value=False).arg_true()
            rows = _rows(text[at], dialect)
            joined = pl.Series([_UNIT.join(row) for row in rows], dtype=pl.String)
            told = told.scatter(at, joined)
    return pl.select(pl.coalesce(told, raw.bin.encode("hex"))).to_series().hash()


def _nothing(rows: int) -> pl.Series:
    return pl.repeat(None, rows, dtype=pl.String, eager=True)


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
    name = codec_of(dialect.encoding)
    # What was wider the splitter has made UTF-8.
    encodings = ("utf-8",) if name.startswith(WIDE) else (name, *dialect.fallback_encodings)
    if encodings[0] == "utf-8":
        with suppress(pl.exceptions.ComputeError):  # one bad record fails the column
            return raw.cast(pl.String)
    return pl.Series([_first_fit(each, encodings) for each in raw], dtype=pl.String)


def _first_fit(raw: bytes, encodings: Iterable[str]) -> str | None:
    for encoding in encodings:
        with suppress(UnicodeDecodeError):
            return raw.decode(encoding)
    return None
