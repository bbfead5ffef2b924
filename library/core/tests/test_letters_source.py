"""Claimed letters as a source, and how their records are read."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.domain.chunk import Chunk
from assay.domain.errors import Fatal, Fenced, Unavailable, Unreadable
from assay.domain.outcome import letters as letters_of
from assay.domain.position import Partition, Positions
from assay.domain.transaction import split
from assay.memory.clock import MemoryClock
from assay.memory.selection import MemorySelection
from assay.memory.store import MemoryStore
from assay.pipeline.letters import LetterChunk, LetterSource, Reading, chunk_of, decode
from assay.ports.source import Source
from assay.testing.frames import outcome
from assay.testing.source import MakeSource, SourceSuite

_ONE = pytest.mark.xfail(strict=True, raises=KeyError, reason="a redrive has one partition")


class TestLetterSource(SourceSuite):
    @pytest.fixture
    def make_source(self) -> MakeSource:
        """The letters of the first log."""

        def make(logs: Mapping[str, Sequence[bytes]]) -> tuple[Source, dict[str, Partition]]:
            name, words = next(iter(logs.items()))
            source, _, _ = _source(words)
            return source, {name: "run"}

        return make

    @_ONE
    def test_begins_where_the_store_stands(self, make_source: MakeSource) -> None:
        super().test_begins_where_the_store_stands(make_source)

    @_ONE
    def test_a_rewind_begins_again_where_the_store_stands(self, make_source: MakeSource) -> None:
        super().test_a_rewind_begins_again_where_the_store_stands(make_source)


def _source(
    words: Sequence[bytes], *, rate: float | None = None
) -> tuple[LetterSource, MemoryStore, MemoryClock]:
    store, clock = MemoryStore(), MemoryClock()
    given = outcome([], rejected=[None] * len(words))
    store.commit(replace(given, records=given.records.with_columns(raw=pl.Series(words))))
    selection = MemorySelection(store, "run", lease=timedelta(minutes=5), now=clock.now)
    letters = selection.claim({}, None, lambda _: None)
    return LetterSource(selection, "run", letters, clock, chunk_records=3, rate=rate), store, clock


def _nowhere(_: Sequence[Partition]) -> Positions:
    return {}


def test_a_claim_is_kept_while_the_loop_goes_on() -> None:
    """However long the classifier is away; a redrive that stands still loses it."""
    source, store, clock = _source([b"a"] * 9)
    events = source.events(_nowhere)
    source.pause(on=True)
    for _ in range(100):
        next(events)
        clock.move(60)
    assert store.redrives["run"].until > clock.now() + 200
    clock.move(1000)
    other = MemorySelection(store, "other", lease=timedelta(minutes=5), now=clock.now)
    assert other.claim({}, None, lambda _: None) == 9
    with pytest.raises(Fenced):
        next(events)


def test_no_more_is_handed_out_than_the_rate_allows() -> None:
    """Over any longer time; the loop goes on meanwhile."""
    source, _, clock = _source([b"a"] * 40, rate=2)
    handed = 0
    for event in source.events(_nowhere):
        if isinstance(event, Chunk):
            handed += event.records.height
            source.ack({each.partition: each.position for each in event.ranges})
        assert handed <= 2 + 2 * (clock.now() + 1)
    assert handed == 40
    assert 17 <= clock.now() <= 21


def test_a_rate_without_end_is_none() -> None:
    """As many are handed out as are taken."""
    source, _, clock = _source([b"a"] * 4, rate=float("inf"))
    for event in source.events(_nowhere):
        if isinstance(event, Chunk):
            source.ack({each.partition: each.position for each in event.ranges})
    assert clock.now() == 0


def test_letters_that_are_away_for_a_moment_are_read_later() -> None:
    """What was handed out before is not handed out again."""
    source, store, _ = _source([b"a", b"b", b"c", b"d"])
    store.faults.plan("page", Unavailable("away"))
    with pytest.raises(Unavailable):
        for _ in source.events(_nowhere):
            pass
    handed = [event for event, _ in zip(source.events(_nowhere), range(5), strict=False)]
    raws = [event.records["raw"].to_list() for event in handed if isinstance(event, Chunk)]
    assert raws == [[b"a", b"b", b"c"], [b"d"]]


# ---------------------------------------------------------------- reading

HEADER = b"id;description;amount;timestamp;merchant;operation_type;side"
LINE = "T{};COFFEE;-3,80;2024-05-02 08:15:00;Bar;payment;debit"
MESSAGE = (
    b'{"id":"M1","description":"TEA","amount":"2.50","currency":"EUR","side":"debit",'
    b'"timestamp":"2024-05-02T08:15:00Z","operation_type":"payment"}'
)


@pytest.fixture(scope="module")
def contract() -> Contract:
    path = Path(__file__).parents[3] / "contracts" / "transactions.odcs.yaml"
    return parse(path.read_text("utf-8"), str(path))


def _letters(*raws: bytes, source: str = "files/transactions") -> pl.DataFrame:
    given = outcome([], rejected=[f"kept-{number}" for number in range(len(raws))], source=source)
    records = given.records.with_columns(
        raw=pl.Series(raws, dtype=pl.Binary), length=pl.Series(map(len, raws), dtype=pl.Int64)
    )
    header = {"transactions/0": HEADER} if source.startswith("files/") else {}
    return letters_of(replace(given, records=records, headers=header), given.rejects)


def _chunk(*letters: pl.DataFrame) -> LetterChunk:
    return chunk_of(pl.concat(letters), "run", 7, finished=True)


def test_letters_of_different_sources_are_read_as_these_have_it(contract: Contract) -> None:
    """In one chunk; each row leaves once, under the row that it has in the chunk."""
    first, second, third = (LINE.format(each).encode() for each in range(3))
    chunk = _chunk(
        _letters(MESSAGE, b"no json", source="kafka/transactions"),
        _letters(first, b"too;short", second),
        _letters(MESSAGE.replace(b"M1", b"M2"), source="kafka/other"),
        _letters(third),
    )
    reading = Reading({"transactions": contract})
    candidates, rejects = decode(chunk, reading)
    valid, invalid = split(candidates)
    assert invalid.is_empty()
    assert dict(valid.sort("row").select("row", "transaction_id").iter_rows()) == {
        0: "M1",
        2: "T0",
        4: "T1",
        5: "M2",
        6: "T2",
    }
    assert (
        valid.filter(pl.col("row") == 2)["timestamp"]
        .dt.to_string()
        .item()
        .startswith("2024-05-02 06:15:00")
    )
    assert dict(rejects.select("row", "code").iter_rows()) == {
        1: "invalid_json",
        3: "wrong_field_count",
    }


def test_what_is_missing_to_read_them_is_named(contract: Contract) -> None:
    """Each source that has no contract, with the number of its letters."""
    reading = Reading({"transactions": contract})
    reading.require({"files/transactions": 3, "kafka/any": 4})
    with pytest.raises(Fatal, match=r"files/cards \(2 letters\), topic \(1 letter\) are") as error:
        reading.require({"files/transactions": 3, "files/cards": 2, "topic": 1})
    assert "--source (chosen beside them: files/transactions (3 letters));" in str(error.value)


def test_a_column_that_is_none_cannot_be_edited() -> None:
    """The columns are named."""
    with pytest.raises(Fatal, match=r"transaction_id, description.*colour"):
        Reading(edits={"colour": "red"})


@pytest.mark.parametrize(
    ("cells", "edits", "code"),
    [
        ({2: "three"}, {"amount": "3.80"}, None),
        ({2: "three"}, {"amount": "3,80"}, "invalid_amount"),
        ({3: "yesterday"}, {"timestamp": "2024-05-02T06:15:00Z"}, None),
        ({3: "yesterday"}, {"timestamp": "2024"}, "invalid_timestamp"),
        ({6: "left"}, {"side": "debit"}, None),
        ({0: ""}, {"transaction_id": "T1"}, None),
        ({}, {"description": ""}, "missing_description"),
        ({2: "three", 3: "yesterday"}, {"amount": "3.80"}, "invalid_timestamp"),
    ],
)
def test_an_edit_stands_in_place_of_what_the_record_says(
    contract: Contract, cells: dict[int, str], edits: dict[str, str], code: str | None
) -> None:
    """In the canonical writing, and judged like anything else."""
    line = [cells.get(at, each) for at, each in enumerate(LINE.format(1).split(";"))]
    candidates, undecodable = decode(
        _chunk(_letters(";".join(line).encode())), Reading({"transactions": contract}, edits)
    )
    valid, invalid = split(candidates)
    assert [*undecodable["code"], *invalid["code"]] == ([code] if code else [])
    assert valid["transaction_id"].to_list() == ([] if code else ["T1"])
    if not code:
        assert valid.row(0, named=True)["amount"].as_tuple().digits == (3, 8, 0)
        assert valid["timestamp"].dt.hour().to_list() == [6]


DERIVING = """
apiVersion: v3.2.0
kind: DataContract
id: signed
version: 1.0.0
status: active
servers: [{server: inbox, type: local, path: ./x.csv, format: csv, delimiter: ";"}]
schema:
  - name: signed
    logicalType: object
    properties:
      - name: transaction_id
        logicalType: string
        customProperties: [{property: derivation, value: {from: content}}]
      - {name: description, logicalType: string}
      - {name: currency, logicalType: string, customProperties: [{property: default, value: EUR}]}
      - name: timestamp
        logicalType: timestamp
        logicalTypeOptions: {format: ISO_OFFSET_DATE_TIME}
      - name: amount
        physicalName: amount
        logicalType: number
      - name: operation_type
        logicalType: string
        customProperties:
          - property: derivation
            value: {from: amountSign, positive: payment, zero: payment, negative: refund}
      - name: side
        logicalType: string
        customProperties:
          - property: derivation
            value: {from: amountSign, positive: debit, zero: debit, negative: credit}
"""


def _derived(
    *raws: bytes, edits: Mapping[str, str], header: bytes = b"description;timestamp;amount"
) -> tuple[pl.DataFrame, pl.DataFrame]:
    letters = _letters(*raws, source="files/signed").with_columns(header=pl.lit(header))
    return decode(_chunk(letters), Reading({"signed": parse(DERIVING, "signed")}, edits))


def test_derived_ids_and_what_derives_from_an_edited_amount() -> None:
    """A letter's own id stands, whether it can be decoded or not; the sign of an edit counts."""
    candidates, rejects = _derived(b"TEA;2024-05-02T08:15:00Z;x", b"a;b", edits={"amount": "-2.50"})
    valid, invalid = split(candidates)
    assert invalid.is_empty()
    found = valid.select("transaction_id", "side", "operation_type", pl.col("amount").cast(str))
    assert found.rows() == [("kept-0", "credit", "refund", "2.50")]
    assert rejects.select("row", "transaction_id", "code").rows() == [
        (1, "kept-1", "wrong_field_count")
    ]


def test_an_edited_id_goes_before_a_derived_one() -> None:
    """The operator's word is the last."""
    candidates, _ = _derived(
        b"TEA;2024-05-02T08:15:00Z;1", edits={"transaction_id": "mine", "side": "debit"}
    )
    assert candidates["transaction_id"].to_list() == ["mine"]


def test_a_header_that_does_not_fit_the_contract_stops_the_redrive() -> None:
    """Its source is named: nothing is tried in vain."""
    with pytest.raises(Unreadable, match="files/signed"):
        _derived(b"x", header=b"colour;price", edits={})


def test_a_record_whose_rest_is_gone_stays_as_it_was(contract: Contract) -> None:
    """With its code, and the reason why; where the whole can be had it is read."""
    whole = MESSAGE.replace(b'"side"', b'"padding":"' + b"x" * 100 + b'","side"')
    cut = _letters(MESSAGE[:20], source="kafka/transactions").with_columns(
        sha256=pl.lit(sha256(whole).digest()),
        code=pl.lit("record_too_long"),
        stage=pl.lit("decode"),
    )
    headless = _letters(b"x").with_columns(header=pl.lit(None, pl.Binary))
    candidates, rejects = decode(_chunk(cut, headless), Reading({"transactions": contract}))
    assert candidates.is_empty()
    assert rejects.select("row", "code", "stage").rows() == [
        (0, "record_too_long", "decode"),
        (1, "missing_side", "validate"),
    ]
    assert [each.split()[-4:] for each in rejects["message"]] == [
        ["no", "longer", "at", "hand"]
    ] * 2
    asked: list[tuple[str, str, int]] = []

    def fetch(source: str, partition: Partition, position: int) -> bytes:
        asked.append((source, partition, position))
        return whole

    candidates, rejects = decode(_chunk(cut), Reading(whole=fetch))
    assert asked == [("kafka/transactions", "transactions/0", 0)]
    assert candidates["transaction_id"].to_list() == ["M1"]
    whole = b"another record"
    _, rejects = decode(_chunk(cut), Reading(whole=fetch))
    assert rejects["code"].to_list() == ["record_too_long"]
