"""Predictions and ledger entries as messages."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.domain.chunk import RECORDS, Chunk
from assay.domain.errors import Unreadable
from assay.domain.outcome import CLASSIFIED, Outcome
from assay.domain.position import Range
from assay.domain.settle import nothing_known, settle, tallies
from assay.pipeline.inflight import Flight, prepare
from assay.testing.frames import outcome, transaction, transactions
from assay.wire import ledger, predictions


def chunk(values: Sequence[bytes | None], keys: Sequence[bytes | None] | None = None) -> Chunk:
    """Messages of one partition, from offset 100 on."""
    height = len(values)
    given = {
        "partition": ["0"] * height,
        "position": range(100, 100 + height),
        "key": keys or [None] * height,
        "raw": values,
        "length": [len(each or b"") for each in values],
    }
    records = pl.DataFrame(
        given | {name: [None] * height for name in RECORDS if name not in given}, schema=RECORDS
    )
    return Chunk((Range("0", 100, 100 + height, height),), records)


def published(given: Outcome) -> list[bytes]:
    """The values of its messages."""
    return predictions.encode(given)["value"].to_list()


def of_topic(rows: Sequence[Any], keys: Sequence[bytes | None] | None = None) -> Outcome:
    """An outcome of a topic's records."""
    made = outcome(rows, source="kafka/transactions", partition="2")
    if keys is None:
        return made
    return replace(made, records=made.records.with_columns(pl.Series("key", keys, pl.Binary)))


@given(st.lists(transactions(), min_size=1, max_size=5))
@settings(deadline=None)
def test_what_is_published_is_read_as_it_was(rows: list[dict[str, Any]]) -> None:
    """To the last character and microsecond, without a look at single messages."""
    given = of_topic(rows)
    flight = Flight(chunk(published(given)), 0)
    flight.is_prepared(prepare(flight.chunk, predictions.decode))
    assert flight.is_ready
    classified, rejects = flight.sorted_by_door()
    assert rejects.is_empty()
    assert classified.sort("row").equals(given.classified.select(CLASSIFIED.names()))


@given(st.lists(st.none() | st.binary(max_size=8), min_size=1, max_size=4))
@settings(deadline=None)
def test_a_prediction_carries_its_record(keys: list[bytes | None]) -> None:
    """Its bytes and its key stand for it in a dead letter, at the place of the message."""
    given = of_topic([f"t{each}" for each in range(len(keys))], keys)
    read = chunk(published(given), keys=[b"another"] * len(keys))
    records = predictions.decode(read).originals(read.records)
    assert records["raw"].to_list() == given.records["raw"].to_list()
    assert records["key"].to_list() == keys
    assert records["length"].to_list() == given.records["length"].to_list()
    assert records["position"].to_list() == read.records["position"].to_list()


ONE = json.loads(published(of_topic(["a"]))[0])


def changed(**columns: Any) -> bytes:
    """The message with other values, written as others may; an ellipsis takes a name out."""
    return json.dumps(
        {name: value for name, value in (ONE | columns).items() if value is not ...}
    ).encode()


def as_ours(value: bytes) -> bytes:
    """A message without blanks, as Assay writes it."""
    try:
        text = json.dumps(json.loads(value), separators=(",", ":"), ensure_ascii=False)
    except ValueError:
        return value
    return text.encode()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b"{}",
        b'{"transaction_id":"a"}',
        *(changed(**{name: None}) for name in ("category", "confidence", "needs_review", "origin")),
        changed(model_version=...),
        changed(confidence=1.5),
        changed(confidence="0.5"),
        changed(needs_review="false"),
        changed(origin=ONE["origin"] | {"position": -1}),
        changed(origin=ONE["origin"] | {"record": None}),
        changed(description=5),
        changed(merchant=["x"]),
        *(changed(**{name: "a\0"}) for name in ("category", "model_name", "feature_hash")),
        changed(model_name="x" * 129),
        changed(category=""),
        as_ours(changed()).replace(b'"position":0', b'"position":00'),
    ],
)
@pytest.mark.parametrize("written", [bytes, as_ours])
def test_what_is_no_prediction_is_a_reject(value: bytes, written: Callable[[bytes], bytes]) -> None:
    """With its own bytes; the messages around it are read."""
    good, other = published(of_topic(["a", "b"]))
    given = chunk([good, written(value), other])
    decoded = predictions.decode(given)
    assert decoded.candidates["row"].to_list() == [0, 2]
    assert decoded.rejects["row"].to_list() == [1]
    code = "unreadable_prediction" if value else "empty_record"
    assert decoded.rejects["code"].to_list() == [code]
    assert decoded.originals(given.records)["raw"][1] == written(value)


_PIECES = st.binary(max_size=4) | st.sampled_from(
    [b"0", b'"', b"\\", b'\\"', b',"origin":', b"null", b"{", b"}", b"\\ud800", b"e-9", b" ", b"-"]
)


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 9), _PIECES), min_size=1, max_size=3))
@settings(deadline=None, max_examples=500)
def test_whatever_is_done_to_a_message_it_is_judged(cuts: list[tuple[float, int, bytes]]) -> None:
    """It is a prediction or a reject, alone as among others, and has an original."""
    value = published(of_topic(["a"]))[0]
    for at, length, piece in cuts:
        start = int(at * len(value))
        value = value[:start] + piece + value[start + length :]
    alone, among = chunk([value]), chunk([*published(of_topic(["b"])), value])
    one, two = predictions.decode(alone), predictions.decode(among)
    assert one.candidates.height + one.rejects.height == 1
    assert two.candidates["row"].to_list() == [0, *(one.candidates["row"] + 1)]
    kept = one.originals(alone.records)["raw"][0]
    assert kept == two.originals(among.records)["raw"][1]
    assert one.candidates.height or kept == value


_CONTENTS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers() | st.floats(0, 1) | st.text(max_size=9)
)


@given(
    st.dictionaries(st.sampled_from(list(ONE)), _CONTENTS),
    st.dictionaries(st.sampled_from(list(ONE["origin"])), _CONTENTS),
)
@settings(deadline=None)
def test_however_it_is_written_it_says_the_same(
    columns: dict[str, Any], origin: dict[str, Any]
) -> None:
    """Messages that Assay could have written are cut, all others read one by one."""
    value = changed(**({"origin": ONE["origin"] | origin} | columns))
    given = [chunk([each]) for each in (value, as_ours(value))]
    plain, ours = (predictions.decode(each) for each in given)
    assert plain.candidates.equals(ours.candidates)
    assert plain.rejects.equals(ours.rejects)
    assert plain.predictions is not None
    assert ours.predictions is not None
    assert plain.predictions.equals(ours.predictions)
    if plain.rejects.is_empty():
        one, other = (
            each.originals(read.records).drop("position")
            for each, read in zip((plain, ours), given, strict=True)
        )
        assert one.equals(other)


def test_a_message_without_a_value_is_a_reject() -> None:
    """As on the topic of transactions."""
    assert predictions.decode(chunk([None])).rejects["code"].to_list() == ["empty_record"]


@pytest.mark.parametrize(
    "value",
    [
        changed(),
        changed(more=[1, {"x": None}]),
        changed(confidence=1),
        b" " + changed() + b"\n",
        changed(merchant=..., feature_hash=..., run_id=...),
        changed(origin=ONE["origin"] | {"key_base64": "no base64"}),
    ],
)
def test_others_may_write_them_as_they_like(value: bytes) -> None:
    """Blanks, further names, an order of their own: what JSON leaves open."""
    decoded = predictions.decode(chunk([value]))
    assert decoded.rejects.is_empty()
    assert decoded.candidates["transaction_id"].to_list() == ["a"]


def test_its_transaction_is_judged_by_the_rules() -> None:
    """What no transaction may hold is a reject of stage `validate`, and has no prediction."""
    prepared = prepare(chunk([changed(side="up"), changed()]), predictions.decode)
    assert prepared.rejects.select("row", "stage", "code").rows() == [
        (0, "validate", "invalid_side")
    ]
    assert prepared.predictions is not None
    assert prepared.predictions["row"].to_list() == [1]


def test_an_entry_is_read_as_it_was() -> None:
    """One for each range, with what it counts and where its predictions are."""
    given = outcome(
        ["a", transaction("b", needs_review=True)],
        source="kafka/transactions",
        partition="2",
        first=7,
        rejected=["x"],
    )
    found = tallies(given, settle(given.classified, nothing_known()))
    ((key, value),) = ledger.encode(given, found, "assay", "kafka/predictions")
    assert key == b"kafka/transactions/2"
    entry = ledger.decode(value)
    assert (entry.first, entry.next, entry.run_id) == (7, 10, "run-1")
    assert entry.tally == found[0]
    assert entry.predictions == "kafka/predictions"


@pytest.mark.parametrize("value", [None, b"", b"[]", b"{}", b'{"source": 1}'])
def test_what_is_no_entry_is_refused(value: bytes | None) -> None:
    """It says what is wrong, without content."""
    with pytest.raises(Unreadable, match="no ledger entry"):
        ledger.decode(value)
