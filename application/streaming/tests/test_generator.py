"""Invented transactions: seeded, valid but for those that are broken on purpose."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from assay.domain.chunk import RECORDS, Chunk
from assay.domain.position import Range
from assay.domain.rules import CURRENCIES
from assay.domain.transaction import Transaction, split
from assay.wire.json import loads
from assay.wire.messages import decode
from assay_streaming.generator import FAULTS, Generator
from assay_streaming.outlet import Message

START = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
CODES = {
    "cut": {"invalid_json"},
    "two_documents": {"invalid_json"},
    "mistyped": {
        "invalid_amount",
        "invalid_description",
        "invalid_side",
        "invalid_currency",
    },
    "lacking": {
        "missing_transaction_id",
        "missing_description",
        "missing_amount",
        "missing_currency",
        "missing_side",
    },
    "nan": {"invalid_json"},
    "long": {"description_too_long"},
    "no_utf8": {"invalid_encoding"},
    "tombstone": {"empty_record"},
    "again": set[str](),
    "conflicting": set[str](),
}


def objects(messages: list[Message]) -> list[dict[str, Any]]:
    return [json.loads(value or b"") for _, value in messages]


def chunk(messages: list[Message]) -> Chunk:
    records = pl.DataFrame({"raw": [value for _, value in messages]}).select(
        (pl.col(name) if name == "raw" else pl.lit(None, dtype)).alias(name)
        for name, dtype in RECORDS.items()
    )
    return Chunk((Range("t/0", 0, len(messages), len(messages)),), records)


def test_all_are_transactions() -> None:
    """Each passes the model of the JSON boundary, and is of just now."""
    for _, value in Generator(1, START).take(2_000, START):
        transaction = Transaction.model_validate(loads(value or b""))
        assert START - timedelta(minutes=2) < transaction.timestamp <= START


def test_they_look_like_those_of_banks() -> None:
    """About a fifth of the descriptions is new; kinds, currencies and merchants are mixed."""
    records = objects(Generator(2, START).take(80_000, START))
    descriptions = Counter(each["description"] for each in records)
    assert 0.15 < len(descriptions) / len(records) < 0.27
    assert {each["operation_type"] for each in records} == {
        "payment",
        "direct_debit",
        "transfer",
        "refund",
    }
    assert 3 < len({each["currency"] for each in records} & CURRENCIES) < 10
    assert 0 < sum(each["mcc"] is None for each in records) < len(records)
    assert 0 < sum(each["merchant"] is None for each in records) < len(records)
    assert any(each["side"] == "credit" for each in records)
    # Cut, in the middle of a word.
    assert any(len(each) == 25 and each.startswith("MP*") for each in descriptions)


def test_the_same_seed_and_start_give_the_same() -> None:
    """In whatever portions they are taken, broken ones included."""
    whole = Generator(3, START, faults=0.2)
    parts = Generator(3, START, faults=0.2)
    portions = [message for size in (1, 7, 500, 5_492) for message in parts.take(size, START)]
    assert whole.take(6_000, START) == portions
    assert whole.broken == parts.broken


@pytest.mark.parametrize(
    ("seed", "start"), [(5, START), (4, START + timedelta(microseconds=1)), (0x4, START)]
)
def test_ids_are_of_one_producer(seed: int, start: datetime) -> None:
    """Neither within a run nor with another seed or start an id comes twice."""
    ids = [each["transaction_id"] for each in objects(Generator(4, START).take(6_000, START))]
    assert len(set(ids)) == len(ids)
    others = {each["transaction_id"] for each in objects(Generator(seed, start).take(100, start))}
    assert others.isdisjoint(ids) or (seed, start) == (4, START)


def test_keys_spread_over_partitions() -> None:
    """They are accounts, some busier than others."""
    keys = Counter(key for key, _ in Generator(5, START).take(5_000, START))
    assert len(keys) > 1_000
    assert keys.most_common(1)[0][1] > 5


def test_broken_ones_are_as_many_as_asked_for_and_of_all_kinds() -> None:
    """Each leads to the reject that its kind says, and nothing else is rejected."""
    generator = Generator(6, START, faults=0.1)
    messages = generator.take(20_000, START)
    assert set(generator.broken) == set(FAULTS) == set(CODES)
    assert 0.09 < generator.broken.total() / len(messages) < 0.11
    assert max(generator.broken.values()) < 2 * min(generator.broken.values())

    candidates, undecodable = decode(chunk(messages))
    good, invalid = split(candidates)
    rejects = pl.concat([undecodable, invalid])
    found = Counter(rejects["code"].to_list())
    for name, codes in CODES.items():
        assert all(found[code] for code in codes), name
    repeated = generator.broken["again"] + generator.broken["conflicting"]
    assert rejects.height == generator.broken.total() - repeated

    times = Counter(good["transaction_id"].to_list())
    assert sum(count - 1 for count in times.values()) == repeated
    contents = good.drop("row").unique().group_by("transaction_id").len()
    conflicting = (
        contents.filter(pl.col("len") > 1)["len"].sum() - contents.filter(pl.col("len") > 1).height
    )
    assert 0 < conflicting <= generator.broken["conflicting"]


def test_the_first_of_all_may_be_broken() -> None:
    """What would repeat an earlier one is cut where there is none."""
    for seed in range(30):
        generator = Generator(seed, START, faults=1)
        messages = generator.take(50, START)
        assert generator.broken.total() == 50
        assert not generator.broken["again"]
        for _, value in messages:
            with pytest.raises((ValueError, ValidationError)):
                Transaction.model_validate(loads(value or b""))
