"""Predictions on a topic: messages that hold a transaction, what a model said of it, its origin.

A message's key is the transaction's id, its value a JSON object:

- the canonical columns, as a message of the topic of transactions has them: `amount` as text, the
  `timestamp` in UTC, null where there is nothing;
- `category`, `confidence` (a number from 0 to 1), `needs_review`, `model_name`, `model_version`,
  `feature_hash`;
- `run_id`: the run that has classified it;
- `origin`: where the record came from, an object: `source` (`kafka/` and the topic), `partition`,
  `position`, the record's own `key` (in `key_base64` where it is no UTF-8) and what it was, as text
  in `record` (in `record_base64` where it is none).

Other names are passed over when it is read. It may be written for a schema registry instead, under
the same names, see `assay.wire.framed`.
"""

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assay.domain.chunk import RECORDS, Chunk, Decoded, with_heads
from assay.domain.outcome import CLASSIFIED, Outcome
from assay.domain.prediction import NAME, PREDICTIONS
from assay.domain.reject import faults
from assay.domain.rules import COLUMNS
from assay.wire.framed import MESSAGES as OF_FRAMED
from assay.wire.framed import Unframe, no_registry, unframed

MESSAGES: Final = pl.Schema({"row": pl.UInt32, "key": pl.Binary, "value": pl.Binary})
"""One row a message; `row` is that of the record in its chunk."""

LARGEST: Final = 4 << 20
"""Bytes that a topic of predictions should take in a message: a record of 1 MiB as text in JSON."""

_SAID: Final = tuple(name for name in PREDICTIONS if name != "row")
_ORIGIN: Final = {
    "source": pl.String(),
    "partition": pl.String(),
    "position": pl.Int64(),
    "key": pl.String(),
    "key_base64": pl.String(),
    "record": pl.String(),
    "record_base64": pl.String(),
}
_VALUE: Final = pl.Struct(
    dict.fromkeys(COLUMNS, pl.String())
    | {name: PREDICTIONS[name] for name in _SAID}
    | {"run_id": pl.String(), "origin": pl.Struct(_ORIGIN)}
)
_MOMENT: Final = "%Y-%m-%dT%H:%M:%S%.fZ"
_MESSAGES: Final = {
    "empty_record": "the message has no value",
    "record_too_long": "the record is longer than 1 MiB",
    "unreadable_prediction": "the message is no prediction",
} | OF_FRAMED


def encode(outcome: Outcome) -> pl.DataFrame:
    """A message for each classified record, in their order, shaped as `MESSAGES`.

    Args:
        outcome: whose classified records were messages of a topic.
    """
    classified = outcome.classified
    records = outcome.records[classified["row"]]
    keys, texts = _texts(records["key"]), _texts(records["raw"])
    origin = pl.struct(
        pl.lit(outcome.source).alias("source"),
        records["partition"],
        records["position"],
        keys.alias("key"),
        _base64(records["key"], keys).alias("key_base64"),
        texts.alias("record"),
        _base64(records["raw"], texts).alias("record_base64"),
    )
    value = pl.struct(
        *(_written(name) for name in COLUMNS),
        *_SAID,
        pl.lit(outcome.run_id).alias("run_id"),
        origin.alias("origin"),
    )
    return classified.select(
        "row",
        key=pl.col("transaction_id").cast(pl.Binary),
        value=value.struct.json_encode().cast(pl.Binary),
    )


def documents(classified: pl.DataFrame) -> pl.Series:
    """What targets get of records that speak JSON: an object each, without their origin.

    Args:
        classified: shaped as `CLASSIFIED`.
    """
    value = pl.struct(*(_written(name) for name in COLUMNS), *_SAID)
    return classified.select(value.struct.json_encode()).to_series()


ROWS: Final = pl.Schema(
    {name: kind for name, kind in CLASSIFIED.items() if name not in {"row", "content_hash"}}
    | {"partition": pl.String, "position": pl.Int64}
)
"""One row a classified record; `partition` and `position` are those of the prediction on its topic.

A column may be added; none ever gets another type or meaning, so that files of all times can be
read together, where a column that is not there is null.
"""


def rows(outcome: Outcome) -> pl.DataFrame:
    """What targets get of classified records that keep tables, shaped as `ROWS`, in their order."""
    records, row = outcome.records, outcome.classified["row"]
    return outcome.classified.with_columns(
        partition=records["partition"].gather(row), position=records["position"].gather(row)
    ).select(*ROWS)


def _written(name: str) -> pl.Expr:
    """A column as a message has it."""
    match name:
        case "amount":
            return pl.col(name).cast(pl.String)
        case "timestamp":
            return pl.col(name).dt.strftime(_MOMENT)
        case _:
            return pl.col(name)


def _texts(values: pl.Series) -> pl.Series:
    """Bytes as text; null where they are none."""
    try:
        return values.cast(pl.String)
    except pl.exceptions.ComputeError:
        return pl.Series(values.name, map(_text, values), dtype=pl.String)


def _text(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


def _base64(values: pl.Series, texts: pl.Series) -> pl.Series:
    """Bytes in base64 where they are no text; else null."""
    if texts.null_count() == values.null_count():
        return pl.Series(values.name, [None], dtype=pl.String).new_from_index(0, values.len())
    pairs = zip(values, texts, strict=True)
    return pl.Series(
        values.name,
        [None if v is None or t is not None else b64encode(v).decode() for v, t in pairs],
        dtype=pl.String,
    )


def decode(chunk: Chunk, unframe: Unframe = no_registry) -> Decoded:
    """Reads a chunk's messages.

    What is no such message is a reject of stage `decode`, with its own bytes. Of others the bytes
    and the key of the record that was classified stand for it.

    Args:
        chunk: of messages of such a topic.
        unframe: finds the objects of values that are written for a schema registry.
    """
    raw = pl.col("raw")
    is_empty = raw.is_null() | (raw.bin.size() == 0)
    coded = (
        unframed(chunk.records, unframe)
        .with_row_index("row")
        .select(
            "row",
            "raw",
            code=pl.coalesce("fault", pl.when(is_empty).then(pl.lit("empty_record"))),
        )
    )
    given = coded.filter(pl.col("code").is_null()).select("row", "raw")
    values = _values(given)
    is_whole = _is_prediction()
    good = values.filter(is_whole)
    broken = pl.concat(
        [
            coded.filter(pl.col("code").is_not_null()).select("row", "code"),
            values.filter(~is_whole).select("row", code=pl.lit("unreadable_prediction")),
        ]
    ).with_columns(
        message=pl.col("code").replace_strict(_MESSAGES, default=None, return_dtype=pl.String)
    )
    return Decoded(
        good.select("row", *COLUMNS),
        faults(broken, stage="decode").sort("row"),
        good.select(pl.col(name).cast(dtype) for name, dtype in PREDICTIONS.items()),
        _originals(chunk.records, good),
    )


def _is_prediction() -> pl.Expr:
    """Whether all is there that each prediction has."""
    origin = pl.col("origin").struct
    needed = (
        *(pl.col(name) for name in _SAID if name != "feature_hash"),
        *(origin.field(name) for name in ("source", "partition", "position")),
        pl.coalesce(origin.field("record"), origin.field("record_base64")),
    )
    is_likely = pl.col("confidence").is_between(0, 1)
    are_names = (
        pl.col(name).str.contains(NAME)
        for name in ("category", "model_name", "model_version", "feature_hash")
    )
    return pl.all_horizontal(
        *(each.is_not_null() for each in needed),
        is_likely,
        *(each.fill_null(value=True) for each in are_names),
    ).fill_null(value=False)


def _values(given: pl.DataFrame) -> pl.DataFrame:
    """What messages hold, a column for each name; all null where one is no prediction.

    Whole columns are read at once. That is right where what was read gives the same bytes when it
    is written again: parsers of JSON disagree on the rest, which is read one by one.
    """
    texts = _texts(given["raw"])
    try:
        values = texts.str.json_decode(_VALUE)
    except pl.exceptions.PolarsError:  # one broken message fails the column
        values = pl.Series(texts.name, [None], dtype=_VALUE).new_from_index(0, texts.len())
    is_same = (values.struct.json_encode() == texts).fill_null(value=False)
    read = given.select("row").hstack([values]).filter(is_same)
    others = given.filter(~is_same)
    single = others.select("row").hstack(
        [pl.Series(texts.name, map(_read, others["raw"]), dtype=_VALUE)]
    )
    return pl.concat([read, single]).sort("row").unnest(texts.name)


class _Origin(BaseModel):
    model_config = ConfigDict(strict=True)

    source: str
    partition: str
    position: int = Field(ge=0, lt=1 << 63)
    key: str | None = None
    key_base64: str | None = None
    record: str | None = None
    record_base64: str | None = None


class _Value(BaseModel):
    """What a message must hold to be a prediction; the transaction is judged by its own rules."""

    model_config = ConfigDict(strict=True, extra="allow")

    category: str
    confidence: float
    needs_review: bool
    model_name: str
    model_version: str
    feature_hash: str | None = None
    run_id: str | None = None
    origin: _Origin


def _read(raw: bytes) -> Mapping[str, Any] | None:
    """One message; None where it is no prediction."""
    try:
        value = _Value.model_validate_json(raw)
    except ValidationError:
        return None
    columns = value.model_extra or {}
    texts = {name: columns.get(name) for name in COLUMNS}
    if not all(each is None or isinstance(each, str) for each in texts.values()):
        return None
    return texts | value.model_dump(include={*_SAID, "run_id", "origin"})


def _originals(records: pl.DataFrame, good: pl.DataFrame) -> pl.DataFrame:
    """The records with key and bytes of what was classified, where a message says them."""
    origin = good["origin"].struct.unnest()
    said = good.select(
        "row",
        said=pl.lit(value=True),
        said_key=_bytes(origin["key"], origin["key_base64"]),
        said_raw=_bytes(origin["record"], origin["record_base64"]),
    )
    joined = records.with_row_index("row").join(said, on="row", how="left", maintain_order="left")
    is_said = pl.col("said").is_not_null()
    originals = joined.with_columns(
        key=pl.when(is_said).then("said_key").otherwise("key"),
        raw=pl.when(is_said).then("said_raw").otherwise("raw"),
        length=pl.when(is_said).then(pl.col("said_raw").bin.size()).otherwise("length"),
    ).select(pl.col(name).cast(dtype) for name, dtype in RECORDS.items())
    return with_heads(originals)


def _bytes(texts: pl.Series, encoded: pl.Series) -> pl.Series:
    """What stands as text, or in base64."""
    values = texts.cast(pl.Binary)
    if encoded.null_count() == encoded.len():
        return values
    pairs = zip(values, encoded, strict=True)
    return pl.Series([v if e is None else _unpacked(e) for v, e in pairs], dtype=pl.Binary)


def _unpacked(encoded: str) -> bytes | None:
    try:
        return b64decode(encoded, validate=True)
    except ValueError:
        return None
