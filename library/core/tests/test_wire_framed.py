"""Values that are written for a schema registry stand for the JSON that it makes of them."""

import json
from collections.abc import Sequence

import polars as pl

from assay.domain.chunk import RECORDS, Chunk
from assay.domain.position import Range
from assay.testing.frames import outcome
from assay.wire import messages, predictions
from assay.wire.framed import unframed

RECORD = json.dumps(
    {
        "transaction_id": "t-1",
        "description": "BISTRO",
        "amount": "1.50",
        "currency": "EUR",
        "timestamp": "2026-01-02T10:11:12Z",
        "operation_type": "payment",
        "side": "debit",
    }
).encode()


def _unframe(values: Sequence[bytes]) -> list[bytes | str]:
    """Whose schemas have one digit: 1 is JSON in reverse, and no other is known."""
    return [v[:1:-1] if v[1:2] == b"1" else "unknown_schema" for v in values]


def _framed(value: bytes) -> bytes:
    return b"\x001" + value[::-1]


def _chunk(*values: bytes | None) -> Chunk:
    rows = [{"partition": "0", "position": n, "raw": each} for n, each in enumerate(values)]
    records = pl.DataFrame(rows, schema={n: RECORDS[n] for n in ("partition", "position", "raw")})
    records = records.with_columns(
        pl.lit(None, kind).alias(name) for name, kind in RECORDS.items() if name not in records
    ).select(RECORDS.names())
    return Chunk((Range("0", 0, len(values), len(values)),), records)


def test_a_framed_value_is_read_as_its_json() -> None:
    """Beside JSON, tombstones and what no registry knows; edits count for it, too."""
    chunk = _chunk(RECORD, _framed(RECORD), None, b"\x002what", b"\0", b"{")
    good, bad = messages.decode(chunk, unframe=_unframe)
    assert good["row"].to_list() == [0, 1]
    assert good.drop("row").n_unique() == 1
    assert dict(bad.select("row", "code").iter_rows()) == {
        2: "empty_record",
        3: "unknown_schema",
        4: "unknown_schema",
        5: "invalid_json",
    }
    good, _ = messages.decode(chunk, {"merchant": "other"}, _unframe)
    assert good["merchant"].to_list() == ["other", "other"]


def test_without_a_registry_it_says_what_to_set() -> None:
    _, bad = messages.decode(_chunk(_framed(RECORD)))
    assert bad["code"].to_list() == ["no_schema_registry"]
    assert "ASSAY_SCHEMA_REGISTRY__URL" in bad["message"][0]


def test_what_has_a_fault_is_not_asked_about() -> None:
    """Of a record that is too long there is no more than its head."""
    records = _chunk(_framed(RECORD)).records.with_columns(fault=pl.lit("record_too_long"))
    assert unframed(records, _unframe).equals(records)


def test_a_prediction_keeps_the_bytes_of_a_record_that_is_no_text() -> None:
    """As those of a record in Avro are not; and it may be framed itself."""
    given = outcome(["t-1", "t-2"])
    raw = [b"\0\0\0\0\x01\xff\xfe", b"text"]
    given.records.replace_column(
        given.records.get_column_index("raw"), pl.Series("raw", raw, pl.Binary)
    )
    values = predictions.encode(given)["value"].to_list()
    for made in (values, [_framed(each) for each in values]):
        chunk = _chunk(*made)
        read = predictions.decode(chunk, _unframe)
        assert read.rejects.is_empty()
        assert read.originals(chunk.records)["raw"].to_list() == raw


def test_a_framed_value_that_is_no_prediction_keeps_its_own_bytes() -> None:
    value = _framed(RECORD)
    chunk = _chunk(value)
    read = predictions.decode(chunk, _unframe)
    assert read.rejects["code"].to_list() == ["unreadable_prediction"]
    assert read.originals(chunk.records)["raw"].to_list() == [value]
