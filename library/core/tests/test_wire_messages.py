"""Messages of a topic: the same verdict by shape, one by one, and from the model of the API."""

import json as plain
import time
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from assay.domain.chunk import RECORDS, Chunk
from assay.domain.position import Range
from assay.domain.reject import REJECTS
from assay.domain.rules import COLUMNS
from assay.domain.transaction import Transaction, first_fault, split
from assay.testing.frames import texts, transactions
from assay.wire import messages
from assay.wire.framed import FRAMED
from assay.wire.framed import MESSAGES as OF_FRAMED
from assay.wire.json import loads, transaction_objects
from assay.wire.messages import CANDIDATES, decode

GOOD: dict[str, Any] = {
    "transaction_id": "t-1",
    "description": "BAKERY 12",
    "amount": "12.50",
    "currency": "EUR",
    "timestamp": "2024-01-02T10:11:12Z",
    "merchant": "Bakery",
    "operation_type": "payment",
    "side": "debit",
    "mcc": "5462",
}
BOM = b"\xef\xbb\xbf"


def chunk(raws: Sequence[bytes | None], faults: Sequence[str | None] = ()) -> Chunk:
    height = len(raws)
    records = pl.DataFrame(
        {
            "partition": ["t/0"] * height,
            "position": range(height),
            "key": [None] * height,
            "raw": raws,
            "length": [len(raw or b"") for raw in raws],
            "sha256": [None] * height,
            "occurrence": [None] * height,
            "fault": faults or [None] * height,
        },
        schema=RECORDS,
    )
    return Chunk((Range("t/0", 0, height, height),), records)


def verdicts(raws: Sequence[bytes | None], few: int = 1, **arguments: Any) -> list[Any]:
    """What becomes of each: its values, or stage, code, field and message."""
    with patch.object(messages, "_FEW", few):
        candidates, undecodable = decode(chunk(raws), **arguments)
    assert candidates.schema == CANDIDATES
    assert undecodable.schema == REJECTS
    assert candidates["row"].is_sorted()
    assert undecodable["row"].is_sorted()
    good, invalid = split(candidates)
    found: dict[int, Any] = {
        row["row"]: {name: row[name] for name in COLUMNS} for row in good.iter_rows(named=True)
    }
    for row in pl.concat([undecodable, invalid]).iter_rows(named=True):
        assert row["row"] not in found
        assert row["message"]
        found[row["row"]] = (row["stage"], row["code"], row["field"], row["message"])
    return [found[number] for number in range(len(raws))]


def by_the_model(raw: bytes | None) -> Any:  # noqa: PLR0911 - one for each outcome
    """The same, from the standard library's reader and the model of the API."""
    if not raw:
        return ("decode", "empty_record", None, "the message has no value")
    if raw.startswith(FRAMED):
        return ("decode", "no_schema_registry", None, OF_FRAMED["no_schema_registry"])
    try:
        raw.decode()
    except UnicodeDecodeError:
        return ("decode", "invalid_encoding", None, "the record is not written in UTF-8")
    raw = raw.removeprefix(BOM)
    try:
        record = loads(raw)
    except ValueError as error:
        return ("decode", "invalid_json", None, str(error))
    if not isinstance(record, dict):
        return ("decode", "invalid_record", None, "the record is no JSON object")
    pairs = plain.loads(raw, object_pairs_hook=lambda pairs: pairs)
    if len(pairs) != len(dict(pairs)):
        return ("decode", "duplicate_name", None, "a name stands twice in the object")
    try:
        return Transaction.model_validate(record).model_dump()
    except ValidationError as error:
        return ("validate", *first_fault(error))


def written(record: Any, **options: Any) -> bytes:
    return plain.dumps(record, **options).encode()


# ------------------------------------------------------------------ properties

STRINGS = st.text(max_size=6) | st.sampled_from(
    ["", " a", "\x00", "a\nb", '"', "\\", "\\u0000", "/", "\ud800", "\udc00x", "😀", "\ufeff",
     "z" * 1025, "é", "\u2028", "null", "{"]
)  # fmt: skip
USUAL = st.from_regex(r"-?[0-9]{1,17}(\.[0-9]{0,4})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
NUMBERS = USUAL | st.sampled_from(
    ["12.5", "12.50", "12.500", "12.505", "-0", "-0.00", "0", "1E2", "1e-2", "1e999", "1e999999",
     "1234567890123456.78", "9999999999999999.99", "10000000000000000", "0.1", "-12.5", "01", ".5",
     "5.", "+1", "NaN", "Infinity", "-Infinity", "9" * 4301, "9" * 31, "9" * 32, "0." + "0" * 31]
)  # fmt: skip
TOKENS = st.one_of(
    st.builds(plain.dumps, STRINGS, ensure_ascii=st.just(value=True)),
    STRINGS.filter(lambda text: not any("\ud800" <= each <= "\udfff" for each in text)).map(
        lambda text: plain.dumps(text, ensure_ascii=False)
    ),
    NUMBERS,
    st.sampled_from(["null", "true", "false", "{}", "[]", '{"a":1,"a":2}', '"12.5"', r'"\u0031"']),
)
BLANKS = st.sampled_from(["", "", " ", "\n", "\t ", "\r\n"])
NAMES = st.sampled_from(
    [*COLUMNS, "id", "Currency", "note", "open", "number", r"\u0069d", "é", "x-1.y", ""]
)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """An object that is a transaction but for a few members, in any writing."""
    members = {name: plain.dumps(value) for name, value in GOOD.items()}
    for name in draw(st.sets(st.sampled_from(COLUMNS), max_size=2)):
        members.pop(name)
    given_ = list(members.items())
    for name in draw(st.lists(NAMES, max_size=3)):
        if name in members and draw(st.booleans()):
            given_ = [each for each in given_ if each[0] != name]
        given_.insert(draw(st.integers(0, len(given_))), (name, draw(TOKENS)))
    before, after, comma = draw(BLANKS), draw(BLANKS), draw(BLANKS)
    body = f"{before},{comma}".join(f'"{name}"{after}:{before}{value}' for name, value in given_)
    return f"{before}{{{after}{body}{comma}}}{after}".encode()


DAMAGE = [b"", b'"', b"\\", b"{", b"}", b",", b":", b"\x00", b"\n", b"\xff", b"0", b"u", b"1", b" ",
          b"\xc3", BOM, b"\\ud83d", b"\\u0000"]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message in which a byte or two are others, lacking or too many."""
    raw = draw(objects())
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(raw)))
        put = draw(st.sampled_from(DAMAGE))
        raw = raw[:at] + put + raw[at + draw(st.integers(0, 1)) :]
    return raw


@given(st.lists(objects() | damaged(), min_size=1, max_size=4), st.integers(1, 3))
@settings(max_examples=150)
def test_both_ways_agree_with_the_model(raws: list[bytes], times: int) -> None:
    """By shape or one by one: verdict, code, field, message and values are the model's."""
    expected = [by_the_model(raw) for raw in raws]
    # Twice and more, so that each meets its own shape as well as the others'.
    assert verdicts(raws * (times + 1)) == expected * (times + 1)
    assert verdicts(raws, few=1 << 30) == expected


@given(st.dictionaries(st.sampled_from([*COLUMNS, "note"]), TOKENS, min_size=1), objects())
@settings(max_examples=150)
def test_a_usual_shape_takes_no_unusual_value(values: dict[str, str], raw: bytes) -> None:
    """Once a shape is known, any other value in its places leads where the model leads."""
    usual = {name: plain.dumps(value) for name, value in (GOOD | {"note": "n"}).items()}
    first, other = (
        ("{" + ", ".join(f'"{name}": {value}' for name, value in each.items()) + "}").encode()
        for each in (usual, usual | values)
    )
    number = first.replace(b'"12.50"', b"12.5")
    raws = [first, number, other, raw]
    assert verdicts(raws) == [by_the_model(raw) for raw in raws]


@given(st.lists(transactions(), min_size=2, max_size=5))
def test_what_we_write_is_read_by_shape(rows: list[dict[str, Any]]) -> None:
    """The objects that producers write come back as they were; one by one only the first."""
    frame = pl.DataFrame([{name: row[name] for name in COLUMNS} for row in rows])
    frame = frame.with_columns(
        pl.col("amount").cast(pl.Decimal(18, 2)), pl.col("merchant", "mcc").cast(pl.String)
    )
    raws = transaction_objects(frame).cast(pl.Binary).to_list()
    with patch.object(messages, "loads", wraps=loads) as read_one:
        assert verdicts(raws) == frame.to_dicts()
    assert read_one.call_count == 1


@given(texts(20), st.booleans())
def test_escapes_are_read_by_shape(text: str, ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    """However a serialiser escapes it, a text is what it was."""
    raw = written(GOOD | {"merchant": text}, ensure_ascii=ascii_only)
    assert [each["merchant"] for each in verdicts([written(GOOD), raw, raw])][1:] == [text] * 2


# ------------------------------------------------------------------ poison

POISON: dict[str, tuple[bytes | None, tuple[str, str, str | None]]] = {
    "tombstone": (None, ("decode", "empty_record", None)),
    "empty": (b"", ("decode", "empty_record", None)),
    "blank": (b" ", ("decode", "invalid_json", None)),
    "number": (b"1", ("decode", "invalid_record", None)),
    "list": (b"[" + written(GOOD) + b"]", ("decode", "invalid_record", None)),
    "null": (b"null", ("decode", "invalid_record", None)),
    "latin-1": (written(GOOD)[:-1] + b"\xe9}", ("decode", "invalid_encoding", None)),
    "utf-16": (plain.dumps(GOOD).encode("utf-16"), ("decode", "invalid_encoding", None)),
    "nested lists": (b"[" * 100_000, ("decode", "invalid_json", None)),
    "nested objects": (
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        ("decode", "invalid_json", None),
    ),
    "cut": (written(GOOD)[:-5], ("decode", "invalid_json", None)),
    "two documents": (written(GOOD) * 2, ("decode", "invalid_json", None)),
    "two lines": (written(GOOD) + b"\n" + written(GOOD), ("decode", "invalid_json", None)),
    "NaN": (written(GOOD | {"amount": float("nan")}), ("decode", "invalid_json", None)),
    "infinity": (written(GOOD | {"amount": float("inf")}), ("decode", "invalid_json", None)),
    "newline": (written(GOOD).replace(b"Y 1", b"Y\n1"), ("decode", "invalid_json", None)),
    "many digits": (
        written(GOOD).replace(b'"12.50"', b"9" * 4301),
        ("decode", "invalid_json", None),
    ),
    "leading zero": (
        written(GOOD).replace(b'"12.50"', b"012.5"),
        ("decode", "invalid_json", None),
    ),
    "huge": (written(GOOD).replace(b'"12.50"', b"1e999999"), ("decode", "invalid_json", None)),
    "huge text": (written(GOOD | {"amount": "1e999999"}), ("validate", "invalid_amount", "amount")),
    "twice": (written(GOOD)[:-1] + b',"mcc":"5462"}', ("decode", "duplicate_name", None)),
    "twice, once escaped": (
        written(GOOD)[:-1] + rb',"\u006dcc":"5462"}',
        ("decode", "duplicate_name", None),
    ),
    "empty object": (b"{}", ("validate", "missing_transaction_id", "transaction_id")),
    "true": (written(GOOD | {"amount": True}), ("validate", "invalid_amount", "amount")),
    "number for text": (
        written(GOOD | {"description": 5}),
        ("validate", "invalid_description", "description"),
    ),
    "object for text": (written(GOOD | {"side": {}}), ("validate", "invalid_side", "side")),
    "list for text": (
        written(GOOD | {"currency": []}),
        ("validate", "invalid_currency", "currency"),
    ),
    "no currency": (
        written({name: value for name, value in GOOD.items() if name != "currency"}),
        ("validate", "missing_currency", "currency"),
    ),
    "NUL": (
        written(GOOD | {"description": "a\0b"}),
        ("validate", "invalid_description", "description"),
    ),
    "long": (
        written(GOOD | {"description": "x" * 900_000}),
        ("validate", "description_too_long", "description"),
    ),
    **{
        f"surrogate in {name}": (
            written(GOOD | {name: "\ud800"}),
            ("validate", f"invalid_{name}", name),
        )
        for name in COLUMNS
    },
}


@pytest.mark.parametrize("few", [1, 1 << 30], ids=["by shape", "one by one"])
def test_poison_leads_to_one_reject_each(few: int) -> None:
    """Whatever a message holds, it has one clear outcome, its neighbours go on, and none waits."""
    raws = [raw for raw, _ in POISON.values()]
    good = written(GOOD)
    began = time.process_time()
    found = verdicts([good, good, *(each for raw in raws for each in (raw, good))], few)
    assert time.process_time() - began < 5
    poisoned = dict(zip(POISON, found[2::2], strict=True))
    assert {name: each[:3] for name, each in poisoned.items()} == {
        name: expected for name, (_, expected) in POISON.items()
    }
    assert all(isinstance(each, dict) for each in [*found[:2], *found[3::2]])
    assert [by_the_model(raw) for raw in raws] == found[2::2]


@pytest.mark.parametrize(
    ("token", "amount"),
    [
        (b"1234567890123456.78", "1234567890123456.78"),
        (b"9999999999999999.99", "9999999999999999.99"),
        (b"12.5", "12.50"),
        (b"-0", "0.00"),
        (b"-12.5", "12.50"),
        (b"1E2", "100.00"),
        (b"1e-2", "0.01"),
        (b'"+5"', "5.00"),
    ],
)
def test_an_amount_is_exact(token: bytes, amount: str) -> None:
    """No digit of a number is lost on either way."""
    raw = written(GOOD).replace(b'"12.50"', token)
    for few in (1, 1 << 30):
        assert [each["amount"] for each in verdicts([raw] * 3, few)] == [Decimal(amount)] * 3


def test_a_byte_order_mark_is_ignored() -> None:
    """RFC 8259 lets a reader ignore it; a second one is no JSON."""
    raw = written(GOOD)
    first, second, third = verdicts([BOM + raw, raw, BOM + BOM + raw])
    assert first == second
    assert third[1] == "invalid_json"
    assert verdicts([BOM])[0][1] == "invalid_json"


def test_id_is_another_name() -> None:
    """`transaction_id` goes before it, as in the API, even where it is null."""
    named = {("id" if name == "transaction_id" else name): value for name, value in GOOD.items()}
    both = GOOD | {"id": "t-2"}
    null = named | {"transaction_id": None}
    raws = [written(each) for each in (named, named, both, both, null, null)]
    found = verdicts(raws)
    assert [each["transaction_id"] for each in found[:4]] == ["t-1"] * 4
    assert [each[1] for each in found[4:]] == ["missing_transaction_id"] * 2


def test_a_fault_that_the_source_saw_stands() -> None:
    """A record of which only the head is there is not read."""
    raws = [written(GOOD)[:20], written(GOOD)]
    candidates, rejects = decode(chunk(raws, ["record_too_long", None]))
    assert candidates["row"].to_list() == [1]
    assert rejects.select("row", "stage", "code", "message").rows() == [
        (0, "decode", "record_too_long", "the record is longer than 1 MiB")
    ]


def test_a_reject_knows_its_id() -> None:
    """A record that is an object with an id keeps it when it is rejected."""
    raws = [written(GOOD | {"amount": True}), written(GOOD | {"transaction_id": "\ud800"})]
    _, rejects = decode(chunk(raws))
    assert rejects["transaction_id"].to_list() == ["t-1", None]


def test_edits_mend_what_is_missing_or_of_another_kind() -> None:
    """An edit stands in place of what the object holds; what is no object stays rejected."""
    without = written({name: value for name, value in GOOD.items() if name != "currency"})
    mistyped = written(GOOD | {"currency": 978})
    found = verdicts([without, mistyped, b"[]", b"{", None], edits={"currency": "USD"})
    assert [each["currency"] for each in found[:2]] == ["USD", "USD"]
    assert [each[1] for each in found[2:]] == ["invalid_record", "invalid_json", "empty_record"]


def test_an_edited_id_stands_for_both_names() -> None:
    """`id` does not bring the old one back."""
    named = {("id" if name == "transaction_id" else name): value for name, value in GOOD.items()}
    raws = [written(each) for each in (GOOD, named)]
    found = verdicts(raws, edits={"transaction_id": "t-9"})
    assert [each["transaction_id"] for each in found] == ["t-9", "t-9"]


def test_messages_hold_no_content() -> None:
    """What is said of a reject may be logged."""
    raws = [
        b'{"SECRET',
        b'"SECRET"',
        written(GOOD | {"amount": ["SECRET"]}),
        b'{"SECRET":1,"SECRET":2}',
    ]
    assert "SECRET" not in str(verdicts(raws))


def test_a_range_may_hold_no_record() -> None:
    """What was compacted away leaves holes."""
    empty = replace(
        chunk([None]), ranges=(Range("t/0", 0, 1, 0),), records=chunk([None]).records[:0]
    )
    candidates, rejects = decode(empty)
    assert (candidates.schema, candidates.height) == (CANDIDATES, 0)
    assert (rejects.schema, rejects.height) == (REJECTS, 0)
