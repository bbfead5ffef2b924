"""Many records, and what must come of them.

As a file in the format of `contracts/transactions.odcs.yaml`, or as messages of a topic.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal
from zlib import crc32

import numpy as np
import polars as pl
from confluent_kafka import Producer
from numpy.typing import NDArray

DISTINCT: Final = 0.2
"""The share of descriptions that differ from all before, also in what a model makes of them."""

BROKEN: Final = 0.001

Ids = Literal["scattered", "ascending"]
"""How ids follow each other: like digests, the harder case for an index, or like counters."""

Traffic = Literal["even", "skewed"]
"""How often each description comes: as often as the others, or as in real traffic, where few come
very often and most of them seldom: the nth as often as a Zipf distribution says."""

LEAST: Final = 1_000
"""Records of which one is broken; of fewer, none is."""

_ZIPF: Final = 1.1  # its exponent: a tenth of the distinct ones are some two thirds of all

MULTIPLIER: Final = 0x9E3779B97F
"""Of a record's number, which makes its scattered id."""

MASK: Final = (1 << 40) - 1
"""The bits of it that count."""

DAYS: Final = 200
"""From the first of April 2024 on, in which all times are, unless others are named."""

_SEED: Final = 20240401
_SLICE: Final = 500_000
HEADER: Final = "id;description;amount;timestamp;merchant;operation_type;side\n"

# Words, not numbers, make descriptions distinct: a model passes over reference numbers.
_TRADES: Final = (
    *("BAKERY", "BISTRO", "BOOKSHOP", "BUTCHER", "CHEMIST", "CINEMA", "COFFEE", "DENTIST"),
    *("FLORIST", "GARAGE", "GROCER", "GYM", "HOTEL", "INSURANCE", "LAUNDRY", "MARKET"),
    *("METRO", "OPTICIAN", "PARKING", "PETROL", "PIZZERIA", "RAILWAY", "RENT", "SALARY"),
    *("SCHOOL", "SHOES", "STREAMING", "SUPERMARKET", "TAXI", "TELECOM", "THEATRE", "WATER"),
)
_FIRST: Final = ("AL", "BER", "COR", "DEL", "EM", "FAL", "GRE", "HAR", "IL", "JUN")
_MIDDLE: Final = ("A", "BI", "DO", "LE", "MI", "NO", "RA", "SE", "TO", "VI")
_LAST: Final = ("BURG", "DALE", "FORD", "HAM", "LIN", "MONT", "NESS", "PORT", "STAD", "WICK")
_TOWNS: Final = tuple(a + b + c for a in _FIRST for b in _MIDDLE for c in _LAST)

# (operation type, side)
_KINDS: Final = (
    *(("payment", "debit"),) * 5,
    ("direct_debit", "debit"),
    ("transfer", "credit"),
    ("refund", "credit"),
)

# Summer time in Europe/Paris throughout, so that every local time is one moment.
_START: Final = datetime(2024, 4, 1)  # noqa: DTZ001 - the format's times are local
_DAY: Final = 86_400
_OFFSET: Final = 2 * 3_600
_CUT: Final = 5
ALL_FAULTS: Final = (0, 1, 2, 3, 4, _CUT)
"""Kinds of them: no id, no description, an amount, a time or a side that is none, a cut line."""

Sorts = Literal["first", "last"]
"""Where the ids of those that come again stand among all ids."""

_AGAIN: Final = 50  # records that come again and again

UNREADABLE: Final = (_CUT,)
"""Those that are no JSON, so that whoever only reads notices them."""


@dataclass(frozen=True)
class Sample:
    """Records and what must come of them.

    Attributes:
        rows: how many.
        broken: of these, those that break the contract or a rule.
        size: of the file, or of all messages, in bytes.
        checksum: the sum of the CRC-32 of each valid record, written as `CHECKSUM` writes it.
        again: how many of them come once more, besides.
        letters: the sum of the CRC-32 of the bytes of each broken message; None of a file.
    """

    rows: int
    broken: int
    size: int
    checksum: int
    again: int = 0
    letters: int | None = None


CHECKSUM: Final = """
    SELECT coalesce(sum(crc32(convert_to(concat_ws('|', transaction_id, description, amount,
        currency, extract(epoch FROM timestamp)::bigint, coalesce(merchant, ''), operation_type,
        side), 'UTF8'))), 0)::bigint
    FROM transactions
"""
"""The same sum over what PostgreSQL holds."""


def write(path: Path, rows: int, ids: Ids) -> Sample:
    """Writes a file, the same for the same arguments."""
    with path.open("wb") as file:
        file.write(HEADER.encode())

        def put(frame: pl.DataFrame) -> int:
            return file.write((frame["line"].str.join("\n").item() + "\n").encode())

        sample = make(rows, ids, put)
    return replace(sample, size=path.stat().st_size)


def send(
    servers: str,
    topic: str,
    rows: int,
    ids: Ids,
    days: int = DAYS,
    *,
    faults: Sequence[int] = ALL_FAULTS,
    every: int = 0,
    sorts: Sorts = "last",
    traffic: Traffic = "even",
) -> Sample:
    """Puts as many messages on a topic, in turns on its partitions; the same for the same rows.

    After `every` so many of them a record comes once more that is there, or will be: one of those
    whose ids stand so among the first. 0: none does.
    """
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 20,
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 3,  # errors only
        }
    )
    partitions = len(producer.list_topics(topic, timeout=10).topics[topic].partitions)
    sent = again = letters = 0
    known: list[bytes] = []

    def put_one(message: bytes) -> None:
        nonlocal sent
        while True:
            try:
                producer.produce(topic, message, partition=sent % partitions)
            except BufferError:
                producer.poll(0.1)
            else:
                break
        sent += 1

    def put(frame: pl.DataFrame) -> int:
        nonlocal again, letters
        broken = frame.filter(pl.col("stored").is_null())["message"]
        letters += sum(map(crc32, broken.cast(pl.Binary)))
        if every and not known:
            # What is stored begins with the id.
            in_order = frame.drop_nulls("stored").sort("stored", descending=sorts == "last")
            known.extend(in_order["message"].head(_AGAIN).cast(pl.Binary))
        messages = frame["message"].cast(pl.Binary).to_list()
        for number, each in enumerate(messages, start=1):
            put_one(each)
            if every and number % every == 0:
                put_one(known[again % len(known)])
                again += 1
        return sum(map(len, messages))

    sample = make(rows, ids, put, days, faults=faults, traffic=traffic)
    if left := producer.flush(60):
        raise RuntimeError(f"{left} messages were not delivered")
    return replace(sample, again=again, letters=letters)


def make(
    rows: int,
    ids: Ids,
    put: Callable[[pl.DataFrame], int],
    days: int = DAYS,
    *,
    faults: Sequence[int] = ALL_FAULTS,
    traffic: Traffic = "even",
) -> Sample:
    """Makes records slice by slice, the same for the same arguments.

    Args:
        rows: how many.
        ids: how their ids follow each other.
        put: takes a slice, with the columns of `_frame`, and says how many bytes it was.
        days: in which their times are; summer time, up to `DAYS`.
        faults: the kinds of what is broken, in turns.
        traffic: how often each description comes.
    """
    chance = np.random.default_rng(_SEED)
    descriptions = _descriptions(rows, traffic, chance)
    broken = chance.choice(rows, size=int(rows * BROKEN), replace=False)
    faulty = np.full(rows, -1, np.int8)
    faulty[broken] = np.resize(faults, broken.size)
    checksum = size = 0
    for start in range(0, rows, _SLICE):
        part = slice(start, min(rows, start + _SLICE))
        frame = _frame(part, ids, descriptions[part], faulty[part], chance=chance, days=days)
        size += put(frame)
        checksum += sum(map(crc32, frame["stored"].drop_nulls().cast(pl.Binary)))
    return Sample(rows, broken.size, size, checksum)


def _descriptions(rows: int, traffic: Traffic, chance: np.random.Generator) -> NDArray[np.int64]:
    """The numbers of the records' descriptions, of which a fifth as many are distinct."""
    distinct = max(1, int(rows * DISTINCT))
    # Equally often: repeats are as far apart as they can be by chance.
    even = np.arange(rows) % distinct
    if traffic == "skewed":
        weights = 1 / np.arange(1, distinct + 1) ** _ZIPF
        even[distinct:] = chance.choice(distinct, size=rows - distinct, p=weights / weights.sum())
    return chance.permutation(even)


def _frame(
    part: slice,
    ids: Ids,
    descriptions: NDArray[np.int64],
    faults: NDArray[np.int8],
    *,
    chance: np.random.Generator,
    days: int,
) -> pl.DataFrame:
    """`line` of a file, `message` of a topic, and `stored` as the table must hold a valid one."""
    height: int = part.stop - part.start
    number = np.arange(part.start, part.stop, dtype=np.uint64)
    if ids == "scattered":  # a bijection: odd multiplier
        number = (number * np.uint64(MULTIPLIER)) & np.uint64(MASK)
    cents = chance.integers(100, 100_000, height)
    seconds = chance.integers(0, days * _DAY, height)
    trade, town = descriptions % len(_TRADES), descriptions // len(_TRADES)
    street, town = town // len(_TOWNS), town % len(_TOWNS)
    kinds = pl.DataFrame(_KINDS, schema=["operation_type", "side"], orient="row")
    frame = pl.DataFrame(
        {
            "id": pl.Series(number).cast(pl.String).str.zfill(13),
            "trade": pl.Series(_TRADES).gather(trade),
            "town": pl.Series(_TOWNS).gather(town),
            "street": pl.Series(_TOWNS).gather(street),
            "named": pl.Series(town % 10 < 7),  # noqa: PLR2004 - seven of ten have a merchant
            "cents": pl.Series(cents),
            "seconds": pl.Series(seconds),
            "fault": pl.Series(faults),
        }
    ).hstack(kinds[chance.integers(0, kinds.height, height)])
    decimals = (pl.col("cents") % 100).cast(pl.String).str.zfill(2)
    frame = frame.with_columns(
        id="T" + pl.col("id"),
        description=pl.format("CARD {} {} {}", "trade", "town", "street"),
        merchant=pl.when("named").then(
            pl.format("{} {}", pl.col("trade").str.to_titlecase(), "town")
        ),
        sign=pl.when(pl.col("side") == "debit").then(pl.lit("-")).otherwise(pl.lit("")),
        whole=(pl.col("cents") // 100).cast(pl.String),
        decimals=decimals,
        time=pl.lit(_START) + pl.duration(seconds="seconds"),
    )
    cells = {
        "id": _faulty(0, "", pl.col("id")),
        "description": _faulty(1, "", pl.col("description")),
        "amount": _faulty(2, "twelve", pl.format("{}{},{}", "sign", "whole", "decimals")),
        "timestamp": _faulty(3, "2024-02-30 10:00:00", pl.col("time").dt.to_string("%F %T")),
        "merchant": pl.col("merchant").fill_null(""),
        "operation_type": pl.col("operation_type"),
        "side": _faulty(4, "sideways", pl.col("side")),
    }
    whole = pl.concat_str(list(cells.values()), separator=";")
    short = pl.concat_str(list(cells.values())[:5], separator=";")
    stored = pl.concat_str(
        "id",
        "description",
        pl.format("{}.{}", "whole", "decimals"),
        pl.lit("EUR"),
        (pl.col("time").dt.epoch("s") - _OFFSET).cast(pl.String),
        cells["merchant"],
        "operation_type",
        "side",
        separator="|",
    )
    names = {
        "transaction_id": cells["id"],
        "description": cells["description"],
        "amount": _faulty(2, "twelve", pl.format("{}.{}", "whole", "decimals")),
        "currency": pl.lit("EUR"),
        "timestamp": _faulty(
            3,
            "2024-02-30T10:00:00Z",
            (pl.col("time") - pl.duration(seconds=_OFFSET)).dt.to_string("%FT%TZ"),
        ),
        "merchant": pl.col("merchant"),
        "operation_type": pl.col("operation_type"),
        "side": cells["side"],
    }
    message = pl.struct(value.alias(name) for name, value in names.items()).struct.json_encode()
    return frame.select(
        message=pl.when(pl.col("fault") == _CUT).then(message.str.head(50)).otherwise(message),
        line=pl.when(pl.col("fault") == _CUT).then(short).otherwise(whole),
        stored=pl.when(pl.col("fault") < 0).then(stored),
    )


def _faulty(number: int, written: str, right: pl.Expr) -> pl.Expr:
    return pl.when(pl.col("fault") == number).then(pl.lit(written)).otherwise(right)
