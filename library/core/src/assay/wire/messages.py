"""Messages of a topic: each a JSON object whose names are the canonical columns.

A value that is written for a schema registry is read as the JSON object of the same names and
values, see `assay.wire.framed`.

Messages that are written alike are read whole columns at a time. The shape of the first message
(its names, their order and the kinds of their values) becomes a regular expression, which cuts all
messages of that shape into their values at once; and so on with what is left. What has no usual
shape is read one by one. Both ways give a record the same candidate or reject.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, cast

import polars as pl
from pydantic import ValidationError

from assay.domain.chunk import Chunk
from assay.domain.reject import REJECTS, faults
from assay.domain.rules import COLUMNS
from assay.domain.transaction import Transaction, digits, first_fault
from assay.wire.framed import MESSAGES as OF_FRAMED
from assay.wire.framed import Unframe, no_registry, unframed
from assay.wire.json import Ambiguous, loads

CANDIDATES: Final = pl.Schema({"row": pl.UInt32()} | dict.fromkeys(COLUMNS, pl.String()))
"""What `decode` makes of records: the row of each in its chunk, and its columns as text."""

_NO_EDITS: Final[Mapping[str, str]] = MappingProxyType({})
_ID: Final = "transaction_id"
_TRIES: Final = 16
"""Messages that shapes are learnt from, at most."""
_FEW: Final = 200
"""Fewer messages are read one by one sooner than a regular expression is made for them."""

_MESSAGES: Final = {
    "empty_record": "the message has no value",
    "record_too_long": "the record is longer than 1 MiB",
    "invalid_encoding": "the record is not written in UTF-8",
    "duplicate_name": "a name stands twice in the object",
    "invalid_record": "the record is no JSON object",
} | OF_FRAMED

# The grammar of RFC 8259, as regular expressions in which each byte says which branch to take:
# so they need no second look at a message. A surrogate counts in a pair only, and a number only
# where its digits stand as they are meant.
_BLANK: Final = r"[ \t\r\n]*"
_HEX: Final = "[0-9a-fA-F]"
_PAIR: Final = rf"[89abAB]{_HEX}{{2}}\\u[dD][c-fC-F]{_HEX}{{2}}"
_UNIT: Final = rf"[0-9a-ce-fA-CE-F]{_HEX}{{3}}|[dD](?:[0-7]{_HEX}{{2}}|{_PAIR})"
CHARACTERS: Final = rf'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u(?:{_UNIT})))*'
"""What stands between the quotes of a string, as a regular expression."""
_ESCAPE: Final = "\\"
_ANY_CHARACTERS: Final = rf'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u{_HEX}{{4}}))*'
_NUMBER: Final = r"-?(?:0|[1-9][0-9]{0,30})(?:\.[0-9]{1,30})?"
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
_OPEN: Final = "open"
_DIGITS: Final = "number"
_LONGEST_SHAPE: Final = 64
_Columns = tuple[str | None, ...]


def decode(
    chunk: Chunk, edits: Mapping[str, str] = _NO_EDITS, unframe: Unframe = no_registry
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sorts a chunk's records into candidates and rejects.

    A record gets the verdict, code and field that `Transaction` gives its object. `id` is another
    name of `transaction_id`, unknown names are ignored, nothing has a default. A byte order mark
    before the object is ignored, as RFC 8259 allows.

    Args:
        chunk: records whose `raw` is a message's value; null is a tombstone.
        edits: columns that are put in place of what each object holds, before it is judged.
        unframe: finds the objects of values that are written for a schema registry.

    Returns:
        The candidates, shaped as `CANDIDATES`, and the others, shaped as `REJECTS`: of stage
        `decode`, or `validate` where the object holds a value that no column of text can. Both are
        sorted by row; together they hold each row once.
    """
    raw = pl.col("raw")
    is_empty = raw.is_null() | (raw.bin.size() == 0)
    records = unframed(chunk.records, unframe)
    records = records.with_row_index("row").select(
        "row",
        "raw",
        pl.coalesce("fault", pl.when(is_empty).then(pl.lit("empty_record"))).alias("code"),
    )
    texts = _decoded(records)
    sound = texts.filter(pl.col("code").is_null()).select("row", "text")
    broken = texts.filter(pl.col("code").is_not_null()).select(
        "row",
        "code",
        pl.col("code")
        .replace_strict(_MESSAGES, default=None, return_dtype=pl.String)
        .alias("message"),
    )
    single = _OneByOne(edits)
    found: list[pl.DataFrame] = []
    if not edits:
        found, sound = _by_shape(sound, single)
    single.read(sound)
    candidates, rejects = single.frames()
    return (
        pl.concat([*found, candidates]).sort("row"),
        pl.concat([faults(broken, stage="decode"), *rejects]).sort("row"),
    )


def _decoded(records: pl.DataFrame) -> pl.DataFrame:
    """With `text`; what cannot be decoded has a code."""
    readable = pl.when(pl.col("code").is_null()).then("raw")
    try:
        texts = records.with_columns(readable.cast(pl.String).alias("text"))
    except pl.exceptions.ComputeError:  # one bad record fails the column
        values = records.select(readable).to_series()
        texts = records.with_columns(pl.Series("text", map(_text, values), dtype=pl.String))
        texts = texts.with_columns(
            pl.coalesce("code", pl.when(pl.col("text").is_null()).then(pl.lit("invalid_encoding")))
        )
    return texts.with_columns(pl.col("text").str.strip_prefix("\ufeff"))


def _text(raw: bytes | None) -> str | None:
    try:
        return None if raw is None else raw.decode()
    except UnicodeDecodeError:
        return None


# ------------------------------------------------------------------ by shape


def _by_shape(texts: pl.DataFrame, single: "_OneByOne") -> tuple[list[pl.DataFrame], pl.DataFrame]:
    """Candidates by shape, and the texts left; those that shapes are learnt from are read."""
    found: list[pl.DataFrame] = []
    for _ in range(_TRIES):
        if texts.height < _FEW:
            break
        pattern = _pattern(single.read_one(*texts.row(0)))
        texts = texts[1:]
        if pattern is None:
            continue
        cut = texts.with_columns(pl.col("text").str.extract_groups(pattern)).unnest("text")
        cut = meant(cut, texts["text"])
        matched = cut[_OPEN].is_not_null()
        texts = texts.filter(~matched)
        found.append(_candidates(cut.filter(matched) if texts.height else cut))
    return found, texts


def _pattern(record: object) -> str | None:
    """A regular expression for messages like this one, with a group for each column; or None."""
    if not isinstance(record, dict):
        return None
    values = cast(dict[str, object], record)
    if not 0 < len(values) <= _LONGEST_SHAPE:
        return None
    members: list[str] = []
    for name, value in values.items():
        member = _member(name, value, has_id=_ID in values)
        if member is None:
            return None
        members.append(f'"{re.escape(name)}"{_BLANK}:{_BLANK}(?:{member})')
    inside = f"{_BLANK},{_BLANK}".join(members)
    return rf"^{_BLANK}(?P<{_OPEN}>\{{){_BLANK}{inside}{_BLANK}\}}{_BLANK}$"


def _member(name: str, value: object, *, has_id: bool) -> str | None:
    """What the value of a name may be in messages of the same shape; None if that is unknown."""
    if _NAME.fullmatch(name) is None:
        return None
    column = _ID if name == "id" and not has_id else name
    if column not in COLUMNS:
        return _ignored(value)
    text = f'"(?P<{column}>{CHARACTERS})"|null'
    return f"{text}|(?P<{_DIGITS}>{_NUMBER})" if column == "amount" else text


def _ignored(value: object) -> str | None:
    """The same of a name that is ignored; narrow, since long expressions are slow ones."""
    match value:
        case bool():
            return "true|false|null"
        case int() | Decimal():
            return f"{_NUMBER}|null"
        case str() | None:
            return f'"{_ANY_CHARACTERS}"|null'
        case _:
            return None


def _candidates(cut: pl.DataFrame) -> pl.DataFrame:
    """The candidates of messages that were cut by a pattern."""
    if _DIGITS in cut.columns:
        cut = cut.with_columns(pl.coalesce("amount", _DIGITS).alias("amount"))
    missing = [pl.lit(None, pl.String).alias(name) for name in COLUMNS if name not in cut.columns]
    return cut.with_columns(missing).select(CANDIDATES.names())


def meant(cut: pl.DataFrame, texts: pl.Series) -> pl.DataFrame:
    """What strings say, in place of what stands between their quotes.

    Args:
        cut: of texts by patterns; columns of text hold what `CHARACTERS` has matched, or nothing
            that is escaped.
        texts: each row's.
    """
    escaped = texts.str.contains(_ESCAPE, literal=True).fill_null(value=False).arg_true()
    if escaped.is_empty():
        return cut
    columns: list[pl.Series] = []
    for name, kind in cut.schema.items():
        if kind == pl.String:
            written = cut[name].gather(escaped)
            is_escaped = written.str.contains(_ESCAPE, literal=True).fill_null(value=False)
            if is_escaped.any():
                said = ('"' + written.filter(is_escaped) + '"').str.json_decode(pl.String)
                columns.append(cut[name].clone().scatter(escaped.filter(is_escaped), said))
    return cut.with_columns(columns)


# ------------------------------------------------------------------ one by one


class _OneByOne:
    """Reads messages one by one, and keeps what they are."""

    def __init__(self, edits: Mapping[str, str]) -> None:
        self._edits = edits
        self._candidates: list[tuple[int, *_Columns]] = []
        self._undecodable: list[dict[str, Any]] = []
        self._invalid: list[dict[str, Any]] = []

    def read(self, texts: pl.DataFrame) -> None:
        """Reads `row` and `text`."""
        for row, text in texts.iter_rows():
            self.read_one(row, text)

    def read_one(self, row: int, text: str) -> object:
        """Reads one message; returns what it is in JSON, and None if it is none."""
        try:
            record = loads(text.encode(), mark_ambiguous=True)
        except ValueError as error:
            self._undecodable.append({"row": row, "code": "invalid_json", "message": str(error)})
            return None
        if not isinstance(record, dict) or isinstance(record, Ambiguous):
            code = "duplicate_name" if isinstance(record, Ambiguous) else "invalid_record"
            self._undecodable.append({"row": row, "code": code, "message": _MESSAGES[code]})
            return record
        values = cast(dict[str, object], record)
        if self._edits:
            values = {**values, **self._edits}
        columns = _columns(values)
        if columns is not None:
            self._candidates.append((row, *columns))
        else:
            self._invalid.append({"row": row} | _fault(values))
        return values

    def frames(self) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
        """The candidates, and the rejects of each stage."""
        candidates = pl.DataFrame(self._candidates, schema=CANDIDATES, orient="row")
        given = {name: REJECTS[name] for name in ("row", _ID, "code", "field", "message")}
        return candidates, [
            faults(pl.DataFrame(self._undecodable, schema=given), stage="decode"),
            faults(pl.DataFrame(self._invalid, schema=given), stage="validate"),
        ]


def _id_of(record: Mapping[str, object]) -> object:
    return record[_ID] if _ID in record else record.get("id")


def _columns(record: Mapping[str, object]) -> _Columns | None:
    """The columns as text; None where a value is none, or is no text that a frame can hold."""
    amount = record.get("amount")
    if type(amount) in {int, Decimal}:
        amount = digits(cast(Decimal | int, amount))
    _, *others = COLUMNS
    values = [amount if name == "amount" else record.get(name) for name in others]
    columns = (_id_of(record), *values)
    return cast(_Columns, columns) if _are_text(columns) else None


def _are_text(values: Iterable[object]) -> bool:
    return all(value is None or (type(value) is str and _is_whole(value)) for value in values)


def _is_whole(text: str) -> bool:
    """Whether it holds no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault(record: dict[str, object]) -> dict[str, str | None]:
    """Why an object is no transaction of which some value is no text."""
    try:
        Transaction.model_validate(record)
    except ValidationError as error:
        code, field, message = first_fault(error)
        known = _id_of(record)
        named = known if isinstance(known, str) and known and _is_whole(known) else None
        return {_ID: named, "code": code, "field": field, "message": message}
    raise AssertionError("the rules of frames and of JSON differ")
