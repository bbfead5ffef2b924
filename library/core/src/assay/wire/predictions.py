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
from functools import partial
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
from assay.wire.messages import CHARACTERS, meant

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
_VALUES: Final = pl.Schema(
    dict.fromkeys(COLUMNS, pl.String())
    | {name: PREDICTIONS[name] for name in _SAID}
    | {"origin": pl.String()}  # its JSON
)
_NONE: Final = (None,) * len(_VALUES)
_MOMENT: Final = "%Y-%m-%dT%H:%M:%S%.fZ"
_ORIGIN_COMES: Final = ',"origin":'
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


# What `encode` writes, as regular expressions: of up to the origin, and of the origin. A machine of
# regular expressions is quick at no more than sixteen groups.
_STRING: Final = f'"{CHARACTERS}"'
_OPTIONAL: Final = f"(?:{_STRING}|null)"
_NUMBER: Final = "[0-9](?:\\.[0-9]+)?(?:e-[0-9]+)?"
_FRONT: Final = "".join(
    (
        r"^\{",
        *(f'"{name}":(?:"(?P<{name}>{CHARACTERS})"|null),' for name in COLUMNS),
        f'"category":"(?P<category>{CHARACTERS})",',
        f'"confidence":(?P<confidence>{_NUMBER}),',
        '"needs_review":(?P<needs_review>true|false),',
        *(f'"{name}":"(?P<{name}>{CHARACTERS})",' for name in ("model_name", "model_version")),
        f'"feature_hash":(?:"(?P<feature_hash>{CHARACTERS})"|null),"run_id":{_OPTIONAL}$',
    )
)
_BACK: Final = (
    rf'^\{{"source":{_STRING},"partition":{_STRING},"position":(?:0|[1-9][0-9]{{0,17}}),'
    rf'"key":{_OPTIONAL},"key_base64":{_OPTIONAL},'
    rf'"record":(?:{_STRING},"record_base64":null|null,"record_base64":{_STRING})\}}\}}$'
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
    records = unframed(chunk.records, unframe).with_row_index("row")
    values = records.hstack(_values(records["raw"]))
    code = pl.coalesce(
        "fault",
        pl.when(is_empty).then(pl.lit("empty_record")),
        pl.when(pl.col("origin").is_null()).then(pl.lit("unreadable_prediction")),
    )
    coded = values.with_columns(code=code)
    good = coded.filter(pl.col("code").is_null())
    message = pl.col("code").replace_strict(_MESSAGES, default=None, return_dtype=pl.String)
    broken = coded.filter(pl.col("code").is_not_null()).select("row", "code", message=message)
    return Decoded(
        good.select("row", *COLUMNS),
        faults(broken, stage="decode"),
        good.select(PREDICTIONS.names()),
        partial(_originals, unframe=unframe),
    )


def _values(raw: pl.Series) -> pl.DataFrame:
    """What messages hold, shaped as `_VALUES`; all null where one is no prediction.

    What has the shape that `encode` gives is cut whole columns at a time, the rest is read one by
    one: both give the same.
    """
    texts = _texts(raw)
    # A quote cannot stand in a string as it is: where this is, a name begins.
    parts = texts.str.splitn(_ORIGIN_COMES, 2).struct.unnest()
    front, back = parts.get_columns()
    cut = front.str.extract_groups(_FRONT).struct.unnest()
    is_cut = cut["confidence"].is_not_null() & back.str.contains(_BACK).fill_null(value=False)
    found = (
        meant(cut, front)
        .with_columns(
            confidence=cut["confidence"].cast(pl.Float64),
            needs_review=cut["needs_review"] == "true",
            origin=back.str.head(-1),
        )
        .select(_VALUES.names())
    )
    if not is_cut.all():
        single = [_NONE if each else _read(one) for each, one in zip(is_cut, raw, strict=True)]
        others = pl.DataFrame(single, schema=_VALUES, orient="row")
        found = found.select(
            pl.when(is_cut).then(pl.col(name)).otherwise(others[name]).alias(name)
            for name in _VALUES
        )
    is_named = pl.all_horizontal(
        pl.col(name).str.contains(NAME).fill_null(value=True)
        for name in ("category", "model_name", "model_version", "feature_hash")
    )
    is_said = pl.col("confidence").is_between(0, 1) & is_named
    return found.with_columns(pl.when(is_said).then("origin"))


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


def _read(raw: bytes | None) -> tuple[Any, ...]:
    """One message, as `_VALUES`; nothing where it is no prediction."""
    try:
        value = _Value.model_validate_json(raw or b"")
    except ValidationError:
        return _NONE
    origin, columns = value.origin, value.model_extra or {}
    texts = [columns.get(name) for name in COLUMNS]
    if not all(each is None or isinstance(each, str) for each in texts):
        return _NONE
    if origin.record is None and origin.record_base64 is None:
        return _NONE
    return (*texts, *(getattr(value, name) for name in _SAID), origin.model_dump_json())


def _originals(records: pl.DataFrame, unframe: Unframe) -> pl.DataFrame:
    """The records with key and bytes of what was classified, where a message says them."""
    values = _values(unframed(records, unframe)["raw"])
    origin = values["origin"].str.json_decode(pl.Struct(_ORIGIN)).struct.unnest()
    raw = _bytes(origin["record"], origin["record_base64"])
    said = {
        "key": _bytes(origin["key"], origin["key_base64"]),
        "raw": raw,
        "length": raw.bin.size().cast(RECORDS["length"]),
    }
    is_said = values["origin"].is_not_null()
    return with_heads(
        records.with_columns(
            pl.when(is_said).then(each).otherwise(name).alias(name) for name, each in said.items()
        )
    )


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
