"""Invented transactions as messages, with broken ones among them on request.

The merchants exist nowhere. Descriptions are written as banks write them: store numbers, towns,
references, a cut at 25 characters. About one in five is new in a long run, the others repeat.
"""

import json
import random
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

import polars as pl

from assay.wire.json import transaction_objects
from assay_streaming.outlet import Message

_BLOCK: Final = 5_000
_ACCOUNTS: Final = 40_000
_LAG: Final = 90_000  # milliseconds; a transaction is this old at most when it is sent
_CARD_LINE: Final = 25  # characters; what card schemes hand on of a description
_REMEMBERED: Final = 100
_KINDS: Final = """
140; GREENLEAF SUPERMARKET <store>; Greenleaf; 350-14000; payment; debit; 5411
90; FRESHBASKET EXPRESS <store> LEEDS; Freshbasket; 190-4200; payment; debit; 5411
60; BOULANGERIE DU PORT <town>; Boulangerie du Port; 180-2400; payment; debit; 5462
55; SQ *CORNER BISTRO <town>; Corner Bistro; 900-8500; payment; debit; 5812
35; PIZZERIA BELLA <town>; Pizzeria Bella; 1100-6400; payment; debit; 5812
60; CITY METRO TOPUP <store>; City Metro; 500-5000; payment; debit; 4111
35; BLUE TAXI <store> TRIP; Blue Taxi; 700-4500; payment; debit; 4121
20; NORTHERN RAIL TICKETS; Northern Rail; 1500-18000; payment; debit; 4112
50; PETROL STATION <store> PORTO; -; 2000-9500; payment; debit; 5541
40; STREAMBOX.COM MONTHLY; Streambox; 799-1799; direct_debit; debit; 4899
25; PAYWAVE *GAMEHARBOUR; Gameharbour; 199-6999; payment; debit; 5816
20; CINEMA PALACE <town>; Cinema Palace; 800-4200; payment; debit; 7832
20; MUNICIPAL WATER INV <reference>; Municipal Water; 1900-9000; direct_debit; debit; -
35; ELECTRICITY BILL REF <reference>; -; 3500-21000; direct_debit; debit; -
12; HOTEL SEAVIEW <town>; Hotel Seaview; 6500-48000; payment; debit; 7011
35; PHARMACY CENTRAL <store>; Pharmacy Central; 350-6000; payment; debit; 5912
8; DENTAL PRACTICE <town>; -; 4000-60000; payment; debit; 8021
35; FASHION OUTLET <store>; Fashion Outlet; 1500-22000; payment; debit; 5651
20; HARDWARE & GARDEN <town>; Hardware & Garden; 700-31000; payment; debit; 5251
55; MP*MARKETPLACE ORDER <reference>; -; 500-25000; payment; debit; 5999
15; HOME INSURANCE PREMIUM <reference>; -; 1800-9900; direct_debit; debit; -
15; MONTHLY RENT FLAT <store>; -; 60000-180000; transfer; debit; -
50; SEPA TRANSFER REF <reference> FAMILY; -; 1000-90000; transfer; debit; -
20; SALARY ACME LTD <reference>; -; 150000-420000; transfer; credit; -
5; PENSION FUND PAYMENT <reference>; -; 80000-240000; transfer; credit; -
35; ATM WITHDRAWAL <store> GENT; -; 2000-30000; payment; debit; 6011
10; ACCOUNT FEE; -; 200-1500; direct_debit; debit; -
10; FOREIGN EXCHANGE FEE; -; 10-900; payment; debit; -
12; REFUND FASHION OUTLET <store>; Fashion Outlet; 1500-9000; refund; credit; -
10; COUNCIL TAX <town>; -; 8000-32000; direct_debit; debit; -
5; ANIMAL RESCUE DONATION; Animal Rescue; 500-10000; payment; debit; 8398
8; CAFÉ ZÜRICHBERG <store>; Café Zürichberg; 380-2900; payment; debit; 5814
"""
"""How many of about a thousand; description; merchant; cents; operation type; side; mcc."""

_TOWNS: Final = pl.Series(["LYON", "PORTO", "LEEDS", "GENT", "BREMEN", "NANTES", "CORK", "TURIN"])
_CURRENCIES: Final = pl.Series(["EUR"] * 14 + ["GBP", "GBP", "USD", "CHF", "PLN", "SEK"])


@cache
def _kinds() -> tuple[pl.Series, pl.DataFrame]:
    """The kinds of transactions, and up to which part of 1 each is chosen; for the last it is 1."""
    names = ("weight", "written", "merchant", "cents", "operation_type", "side", "usual mcc")
    cells = [line.split("; ") for line in _KINDS.strip().splitlines()]
    kinds = pl.DataFrame(cells, schema=dict.fromkeys(names, pl.String), orient="row")
    kinds = (
        kinds.with_columns(pl.when(pl.all() != "-").then(pl.all()))
        .with_columns(
            pl.col("written").str.extract_groups(
                r"^(?P<before>[^<]*)(?:<(?P<number>\w+)>)?(?P<after>.*)$"
            ),
            pl.col("cents").str.extract_groups(r"(?P<low>[0-9]+)-(?P<high>[0-9]+)"),
            pl.col("weight").cast(pl.Float64),
        )
        .unnest("written", "cents")
        .with_columns(pl.col("low", "high").cast(pl.Float64))
    )
    return (kinds["weight"].cum_sum() / kinds["weight"].sum())[:-1], kinds.drop("weight")


def _at(choice: str, among: int) -> pl.Expr:
    return (pl.col(choice) * among).cast(pl.UInt32)


class Generator:
    """Messages without end, the same for the same seed and start if taken at the same times.

    The id of a transaction names seed, start and number, so that no two producers make the same
    one unless both are the same.

    Attributes:
        broken: how many broken messages were made, by what is wrong with them (see `FAULTS`).
    """

    def __init__(self, seed: int, start: datetime, *, faults: float = 0) -> None:
        """Prepares a run of messages.

        Args:
            seed: any whole number that is not negative.
            start: when the producer started.
            faults: the share of messages that are broken.
        """
        self._origin = f"{seed:x}-{int(start.timestamp() * 1_000_000):x}"
        self._random = random.Random(self._origin)  # noqa: S311 - invented data, no secrets
        self._faults = faults
        self._made = 0
        self._drawn = pl.DataFrame()
        self._recent: deque[Message | None] = deque(maxlen=_REMEMBERED)
        self.broken: Counter[str] = Counter()

    def take(self, count: int, now: datetime) -> list[Message]:
        """The next messages, of transactions up to a minute and a half before `now`."""
        while self._drawn.height < count:
            self._drawn = pl.concat([self._drawn, self._draw()], how="diagonal")
        rows, self._drawn = self._drawn[:count], self._drawn[count:]
        moment = pl.lit(now).dt.cast_time_unit("ms") - pl.duration(milliseconds=_at("age", _LAG))
        objects = transaction_objects(
            rows.with_columns(moment.dt.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").alias("timestamp"))
        )
        values = objects.cast(pl.Binary).to_list()
        messages: list[Message] = list(zip(rows["account"].to_list(), values, strict=True))
        unbroken: list[Message | None] = [*messages]
        broken: list[int] = (rows["luck"] < self._faults).arg_true().to_list()
        for at in broken:
            before = [*self._recent, *unbroken[max(0, at - _REMEMBERED) : at]][-_REMEMBERED:]
            messages[at] = self._break(messages[at], rows["transaction_id"][at], before)
            unbroken[at] = None
        self._recent.extend(unbroken[-_REMEMBERED:])
        return messages

    def _draw(self) -> pl.DataFrame:
        """Some more transactions as text, with whose they are and what becomes of them."""
        draw = self._random.random
        choices = ("kind", "number", "town", "price", "money", "code", "age", "owner", "luck")
        drawn = pl.DataFrame({name: [draw() for _ in range(_BLOCK)] for name in choices})
        chances, kinds = _kinds()
        kinds = kinds[chances.search_sorted(drawn["kind"], side="right")]
        first, self._made = self._made, self._made + _BLOCK
        # Small numbers are frequent: some stores are visited more often than others.
        store = (1 + 400 * pl.col("number") ** 3).cast(pl.UInt32).cast(pl.String)
        reference = (pl.col("number") * 1e9).cast(pl.UInt32).cast(pl.String).str.zfill(9)
        town = pl.lit(_TOWNS).gather(_at("town", len(_TOWNS)))
        written = pl.concat_str(
            "before",
            pl.when(pl.col("sort") == "store").then(store)
            .when(pl.col("sort") == "reference").then(reference)
            .when(pl.col("sort") == "town").then(town)
            .otherwise(pl.lit("")),
            "after",
        )  # fmt: skip
        cents = (pl.col("low") * (pl.col("high") / pl.col("low")) ** pl.col("price")).cast(
            pl.UInt32
        )
        return pl.concat(
            [drawn, kinds.rename({"number": "sort"})], how="horizontal"
        ).select(
            pl.format("{}-{}", pl.lit(self._origin), pl.int_range(first, first + _BLOCK))
            .alias("transaction_id"),
            pl.when(pl.col("usual mcc").is_not_null())
            .then(written.str.slice(0, _CARD_LINE))
            .otherwise(written)
            .alias("description"),
            pl.format("{}.{}", cents // 100, (cents % 100).cast(pl.String).str.zfill(2))
            .alias("amount"),
            pl.lit(_CURRENCIES).gather(_at("money", len(_CURRENCIES))).alias("currency"),
            "merchant",
            "operation_type",
            "side",
            pl.when(pl.col("code") < 0.6).then("usual mcc").alias("mcc"),  # noqa: PLR2004 - often
            "age",
            "luck",
            pl.format("account-{}", (pl.col("owner") ** 2 * _ACCOUNTS).cast(pl.UInt32))
            .cast(pl.Binary)
            .alias("account"),
        )  # fmt: skip

    def _break(
        self, message: Message, transaction_id: str, before: Sequence[Message | None]
    ) -> Message:
        """A broken one in its place; what needs an earlier one is cut where there is none."""
        choose = random.Random(transaction_id)  # noqa: S311 - the same
        name = choose.choice(list(FAULTS))
        if name in _REPEATS:
            earlier = choose.choice(before) if before else None
            name, message = (name, earlier) if earlier else ("cut", message)
        key, value = message
        self.broken[name] += 1
        return key, FAULTS[name](value or b"", choose)


def _changed(value: bytes, **columns: Any) -> bytes:
    return _written(json.loads(value) | columns)


def _written(record: dict[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


_ODD: Final[tuple[tuple[str, Any], ...]] = (
    ("amount", True),
    ("description", 17),
    ("side", ["debit"]),
    ("currency", {}),
)


def _mistyped(value: bytes, choose: random.Random) -> bytes:
    name, odd = choose.choice(_ODD)
    return _changed(value, **{name: odd})


def _lacking(value: bytes, choose: random.Random) -> bytes:
    record = json.loads(value)
    del record[choose.choice(["transaction_id", "description", "amount", "currency", "side"])]
    return _written(record)


FAULTS: Final[dict[str, Callable[[bytes, random.Random], bytes | None]]] = {
    "cut": lambda value, choose: value[: choose.randrange(1, len(value))],
    "two_documents": lambda value, _: value + value,
    "mistyped": _mistyped,
    "lacking": _lacking,
    "nan": lambda value, _: _changed(value, amount=float("nan")),
    "long": lambda value, _: _changed(value, description="LONG " * 400),
    "no_utf8": lambda value, _: value.replace(b'"description":"', b'"description":"\xff', 1),
    "tombstone": lambda _, __: None,
    "again": lambda value, _: value,
    "conflicting": lambda value, _: _changed(value, amount="0.01"),
}
"""What can be wrong with a message: broken JSON, two documents in one, a value of another kind, a
name that lacks, an amount that is not a number, a description that is too long, bytes that are no
UTF-8, no value at all, an earlier message again, and an earlier one's id with another amount."""

_REPEATS: Final = ("again", "conflicting")
