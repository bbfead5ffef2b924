"""Dead letters survive their way through JSON lines."""

import json
import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assay.domain.errors import Unreadable
from assay.domain.reject import LETTERS
from assay.wire.envelope import (
    Message,
    letters_from_jsonl,
    letters_from_messages,
    letters_to_jsonl,
    letters_to_messages,
    with_head_only,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
CONTENT = st.one_of(st.binary(max_size=40), TEXT.map(str.encode))
COUNT = st.integers(0, (1 << 63) - 1)
ROWS = st.fixed_dictionaries(
    {
        "source": TEXT | TEXT.map("kafka/{}".format),
        "partition": TEXT,
        "topic_id": st.none() | TEXT,
        "position": COUNT,
        "key": st.none() | CONTENT,
        "raw": st.none() | CONTENT,
        "length": COUNT,
        "sha256": st.none() | st.binary(min_size=32, max_size=32),
        "header": st.none() | CONTENT,
        "transaction_id": st.none() | TEXT,
        "stage": st.sampled_from(["decode", "validate", "classify", "commit"]),
        "code": TEXT,
        "field": st.none() | TEXT,
        "message": st.none() | TEXT,
        "retriable": st.booleans(),
        "attempt": st.integers(1, (1 << 15) - 1),
        "model_version": st.none() | TEXT,
        "run_id": TEXT,
        "destination": TEXT,
    }
)
ROW = {
    "source": "batch",
    "partition": "s3://bucket/in/a.csv#etag:0f",
    "topic_id": None,
    "position": 17,
    "key": None,
    "raw": "t-1;Café;12,345".encode(),
    "length": 16,
    "sha256": None,
    "header": b"id;description;amount",
    "transaction_id": "t-1",
    "stage": "validate",
    "code": "too_many_decimals",
    "field": "amount",
    "message": "more than two decimals",
    "retriable": False,
    "attempt": 1,
    "model_version": None,
    "run_id": "run-1",
    "destination": "s3://bucket/errors/",
}


def letters(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=LETTERS, orient="row")


@given(st.lists(ROWS, max_size=5))
def test_letters_come_back(rows: list[dict[str, Any]]) -> None:
    """Every column of every letter, in order, one line each."""
    frame = letters(*rows)
    body = letters_to_jsonl(frame)
    assert body.count(b"\n") == len(rows)
    assert_frame_equal(letters_from_jsonl(body), frame)


@given(st.lists(ROWS, max_size=5))
def test_letters_come_back_from_messages(rows: list[dict[str, Any]]) -> None:
    """Every column of every letter, in order, with the record's own key and bytes."""
    frame = letters(*rows)
    messages = list(letters_to_messages(frame))
    assert [each[:2] for each in messages] == [(row["key"], row["raw"]) for row in rows]
    assert_frame_equal(letters_from_messages(messages), frame)


@given(ROWS)
def test_lines_and_messages_say_the_same(row: dict[str, Any]) -> None:
    """The headers of a message are those of a line as text, but for what is null."""
    line = json.loads(letters_to_jsonl(letters(row)))
    (message,) = letters_to_messages(letters(row))
    told = dict(message.headers)
    assert told.pop("assay.header", None) == row["header"]
    assert told.pop("assay.id").decode() == line["id"]
    assert {name: value.decode() for name, value in told.items()} == {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in line["headers"].items()
        if value is not None
    }


def test_a_message_of_a_topic_names_the_topic() -> None:
    """As Kafka Connect's tools expect it: the topic's own name and the partition's number."""
    row = ROW | {"source": "kafka/transactions", "partition": "2", "topic_id": "T", "header": None}
    (message,) = letters_to_messages(letters(row))
    told = dict(message.headers)
    assert told["__connect.errors.topic"] == b"transactions"
    assert told["__connect.errors.partition"] == b"2"
    assert told["assay.source"] == b"kafka/transactions"
    assert told["assay.id"] == b"kafka/transactions/2#T@17"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("assay.id", b"batch/other@17", "different origins"),
        ("__connect.errors.topic", b"other", "different sources"),
        ("__connect.errors.offset", b"secret", "offset"),
        ("__connect.errors.offset", "\u0661".encode(), "offset"),
        ("assay.retriable", b"secret", "retriable"),
        ("assay.code", b"\xff", "no UTF-8"),
        ("assay.code", None, "code"),
    ],
)
def test_what_is_no_letter_is_no_message(name: str, value: bytes | None, said: str) -> None:
    """It says what is wrong, and shows none of the content; other headers do no harm."""
    (message,) = letters_to_messages(letters(ROW))
    others = [each for each in message.headers if each[0] != name]
    headers = [*others, *([] if value is None else [(name, value)])]
    with pytest.raises(Unreadable, match=said) as caught:
        letters_from_messages([message._replace(headers=headers)])
    assert "secret" not in str(caught.value)
    more = [*message.headers, ("traceparent", b"\xff")]
    assert letters_from_messages([message._replace(headers=more)]).height == 1


BARE = ROW | dict.fromkeys(("transaction_id", "message", "field", "model_version"))


def test_a_message_that_is_too_large_keeps_its_head() -> None:
    """Length and sha256 tell of the whole record; what is long besides is left out."""
    row = BARE | {"key": b"k" * 9, "raw": b"0123456789", "length": 10, "header": b"h" * 9}
    (message,) = letters_to_messages(letters(row))
    expected = row | {"raw": b"01234567", "key": None, "header": None}
    expected["sha256"] = sha256(b"0123456789").digest()
    assert_frame_equal(letters_from_messages([with_head_only(message, 8)]), letters(expected))
    assert with_head_only(message, 10) == message


@pytest.mark.parametrize("name", ["transaction_id", "message", "field", "model_version"])
def test_no_header_makes_a_message_too_large(name: str) -> None:
    """Without what is long there it is the same letter; what says which one it is stays."""
    row = ROW | {"raw": b"", "sha256": None, "header": None, name: "☕" * 100_000}
    (message,) = letters_to_messages(letters(row))
    cut = with_head_only(message, 1 << 10)
    assert sum(len(text) for _, text in cut.headers) < 1 << 10
    assert_frame_equal(letters_from_messages([cut]), letters(row | {name: None}))


def test_a_head_stays_the_head_of_the_whole_record() -> None:
    """Cut once more, its sha256 stays that of the record."""
    row = BARE | {"raw": b"0123456789", "length": 99, "sha256": bytes(32), "header": None}
    (message,) = letters_to_messages(letters(row))
    (cut,) = letters_from_messages([with_head_only(message, 2)]).iter_rows(named=True)
    assert (cut["raw"], cut["length"], cut["sha256"]) == (b"01", 99, bytes(32))
    null = Message(None, None, message.headers)
    assert with_head_only(null, 0) == null


def test_a_line_reads_as_described() -> None:
    """The names are those of Kafka Connect where it has some; what is text is text."""
    (line,) = letters_to_jsonl(letters(ROW)).decode().splitlines()
    assert "Café" in line
    assert json.loads(line) == {
        "id": "batch/s3://bucket/in/a.csv#etag:0f@17",
        "key": None,
        "value": "t-1;Café;12,345",
        "header": "id;description;amount",
        "headers": {
            "__connect.errors.topic": "batch",
            "__connect.errors.partition": "s3://bucket/in/a.csv#etag:0f",
            "__connect.errors.offset": 17,
            "__connect.errors.stage": "validate",
            "__connect.errors.exception.class.name": "assay.too_many_decimals",
            "__connect.errors.exception.message": "more than two decimals",
            "assay.source": "batch",
            "assay.topic.id": None,
            "assay.code": "too_many_decimals",
            "assay.field": "amount",
            "assay.attempt": 1,
            "assay.retriable": False,
            "assay.model.version": None,
            "assay.run": "run-1",
            "assay.transaction.id": "t-1",
            "assay.length": 16,
            "assay.sha256": None,
            "assay.destination": "s3://bucket/errors/",
        },
    }


def test_bytes_that_are_no_text_are_in_base64() -> None:
    """Under a name that says so, in the alphabet that every tool knows."""
    row = ROW | {"raw": b"\xff\xfe\xfb", "sha256": bytes(range(32)), "key": b"\xc3"}
    line = json.loads(letters_to_jsonl(letters(row)))
    assert line["value_base64"] == "//77"
    assert line["key_base64"] == "ww=="
    assert line["headers"]["assay.sha256"] == bytes(range(32)).hex()
    assert not {"value", "key", "header_base64"} & line.keys()


def test_lines_of_other_systems_are_read() -> None:
    """With carriage returns, empty lines, no newline at the end, and members in any order."""
    line = json.dumps(json.loads(letters_to_jsonl(letters(ROW))), sort_keys=True)
    body = f"\r\n{line}\r\n\n{line}".encode()
    assert_frame_equal(letters_from_jsonl(body), letters(ROW, ROW))


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda line: line.pop(name)


def update(**members: object) -> Callable[[dict[str, Any]], object]:
    return lambda line: line.update(members)


def header(name: str, value: object) -> Callable[[dict[str, Any]], object]:
    return lambda line: line["headers"].update({name: value})


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without("id"), "id"),
        (without("value"), "value"),
        (without("headers"), "headers"),
        (update(id="batch/other@17"), "different origins"),
        (header("__connect.errors.topic", "secret"), "different sources"),
        (update(value_base64="c2VjcmV0"), "not both"),
        (update(value=12.5), "value"),
        (update(extra="secret"), "extra"),
        (update(header="", header_base64="secret"), "not both"),
        (header("__connect.errors.offset", -1), "offset"),
        (header("__connect.errors.offset", "17"), "offset"),
        (header("__connect.errors.offset", 1 << 63), "offset"),
        (header("__connect.errors.stage", "secret"), "stage"),
        (header("assay.attempt", 0), "attempt"),
        (header("assay.retriable", "yes"), "retriable"),
        (header("assay.sha256", "secret"), "sha256"),
        (header("assay.other", "secret"), "other"),
    ],
)
def test_what_is_no_letter_is_unreadable(
    damage: Callable[[dict[str, Any]], object], said: str
) -> None:
    """It names the line and what is wrong there, and shows none of the content."""
    good = letters_to_jsonl(letters(ROW))
    line = json.loads(good)
    damage(line)
    with pytest.raises(Unreadable, match=f"line 2 .*{re.escape(said)}") as caught:
        letters_from_jsonl(good + json.dumps(line).encode())
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_is_no_base64_is_unreadable() -> None:
    """Nothing is passed over in it."""
    line = letters_to_jsonl(letters(ROW)).replace(b'"value":"t-1', b'"value_base64":"secret!')
    with pytest.raises(Unreadable, match="line 1 ") as caught:
        letters_from_jsonl(line)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("line", [b"{", b"[]", b"null", b"secret", b"\xff\xfe", b"{}{}"])
def test_what_is_no_json_object_is_unreadable(line: bytes) -> None:
    """Named by its line as well."""
    with pytest.raises(Unreadable, match="line 1 "):
        letters_from_jsonl(line)
