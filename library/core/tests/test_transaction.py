"""The canonical transaction: the same verdict in a frame and in a JSON body."""

from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from assay.domain.rules import COLUMNS, CURRENCIES
from assay.domain.transaction import TRANSACTIONS, Transaction, first_fault, split

Row = dict[str, Any]

GOOD: Row = {
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

TEXT = st.text(max_size=6) | st.sampled_from(
    ["", " ", "\x00", "a\nb", "x" * 128, "x" * 129, "y" * 256, "y" * 257, "z" * 1024, "z" * 1025,
     " a", "a ", "\u2028", "\x85", "é😀", "\x7f"]
)  # fmt: skip
AMOUNTS = st.one_of(
    st.decimals(-(10**17), 10**17, places=2).map(str),
    st.from_regex(r"[+-]?[0-9]{0,3}\.?[0-9]{0,4}", fullmatch=True),
    st.sampled_from(
        ["NaN", "1e400", "1E2", "0x10", "Infinity", "-0.00", "-0", "+5", ".5", "5.", "1,5",
         "12.345", "12.340", "00000000000000000000.10", "9999999999999999.99",
         "10000000000000000", "١٢",
         "1_000", " 5", "5\n", "--5", "-", "+", "."]
    ),
)  # fmt: skip
TIMESTAMPS = st.one_of(
    st.datetimes().map(lambda each: each.isoformat() + "Z"),
    st.from_regex(
        r"(0000|0001|2024|9999)-(0[0-3]|1[0-3])-(0[0-9]|2[89]|3[01])[Tt ]"
        r"(00|12|23|24):(00|59|60):(00|59|60)(\.[0-9]{0,10})?([Zz]|[+-](00|14|23|24):(00|30|60))?",
        fullmatch=True,
    ),
    st.sampled_from(["2024-01-02", "now", "2024-01-02T10:11:12Z\n", "2024-1-2T10:11:12Z"]),
)
ROWS = st.fixed_dictionaries(
    {
        "transaction_id": st.none() | TEXT,
        "description": st.none() | TEXT,
        "amount": st.none() | AMOUNTS,
        "currency": st.none() | st.sampled_from(["EUR", "eur", "XXX", "", "EURO", "GBP"]),
        "timestamp": st.none() | TIMESTAMPS,
        "merchant": st.none() | TEXT,
        "operation_type": st.sampled_from([None, "", "payment", "Payment", "transfer", "x"]),
        "side": st.sampled_from([None, "", "debit", "credit", "Debit"]),
        "mcc": st.sampled_from([None, "", "5462", "546", "54620", "546a", "٥٤٦٢"]),
    }
)


def nearly_good(row: Row, broken: set[str]) -> Row:
    """A good row but for a few columns, so that later rules are reached."""
    return {name: row[name] if name in broken else GOOD[name] for name in COLUMNS}


NEARLY_GOOD = st.builds(
    nearly_good, ROWS, st.sets(st.sampled_from(COLUMNS), min_size=1, max_size=2)
)


def in_frame(rows: list[Row]) -> list[Any]:
    """What the columnar check says of each row: its values, or code, field and message."""
    frame = pl.DataFrame(rows, schema=dict.fromkeys(COLUMNS, pl.String)).with_row_index("row")
    good, rejects = split(frame)
    assert good.schema == TRANSACTIONS
    found: dict[int, Any] = {}
    for row in good.iter_rows(named=True):
        found[row["row"]] = {name: row[name] for name in COLUMNS}
    for row in rejects.iter_rows(named=True):
        assert row["row"] not in found
        found[row["row"]] = (row["code"], row["field"], row["message"])
    return [found[number] for number in range(len(rows))]


def in_json(row: Row) -> Any:
    """What pydantic says of a row, in the same form."""
    try:
        return Transaction.model_validate(row).model_dump()
    except ValidationError as error:
        return first_fault(error)


@given(st.lists(ROWS | NEARLY_GOOD, min_size=1, max_size=12))
@settings(max_examples=300)
def test_frames_and_json_agree(rows: list[Row]) -> None:
    """The same record gets the same verdict, code, field and values from both."""
    assert in_frame(rows) == [in_json(row) for row in rows]


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"amount": "12.345"}, "amount_precision"),
        ({"amount": "12.340"}, "amount_precision"),
        ({"amount": "NaN"}, "invalid_amount"),
        ({"amount": "1e400"}, "invalid_amount"),
        ({"amount": "10000000000000000"}, "amount_range"),
        ({"amount": "-12.50", "side": "credit"}, "amount_sign"),
        ({"currency": "XXX"}, "invalid_currency"),
        ({"timestamp": "2023-02-29T00:00:00Z"}, "invalid_timestamp"),
        ({"description": "a\x00b"}, "invalid_description"),
        ({"description": "x" * 1025}, "description_too_long"),
        ({"transaction_id": None}, "missing_transaction_id"),
        ({"side": ""}, "missing_side"),
        ({"mcc": "54"}, "invalid_mcc"),
    ],
)
def test_a_broken_rule_has_its_code(changed: Row, code: str) -> None:
    """The code names the field and what is wrong with it; both ways of reading say it."""
    row = GOOD | changed
    assert [in_frame([row])[0][0], in_json(row)[0]] == [code, code]


def test_an_amount_is_exact() -> None:
    """18 digits survive, a negative debit becomes its magnitude, minus zero is zero."""
    for given_, kept in (
        ("9999999999999999.99", "9999999999999999.99"),
        ("-12.5", "12.50"),
        ("-0.00", "0.00"),
        (".5", "0.50"),
    ):
        row = GOOD | {"amount": given_}
        assert in_frame([row])[0]["amount"] == Decimal(kept)


@pytest.mark.parametrize("amount", [True, 12.5, float("nan"), [1], {"a": 1}, b"12"])
def test_an_amount_in_json_is_a_string_or_an_exact_number(amount: object) -> None:
    """A float may have lost digits, `true` is no number."""
    assert in_json(GOOD | {"amount": amount})[0] == "invalid_amount"
    assert in_json(GOOD | {"amount": Decimal("12.5")})["amount"] == Decimal("12.50")
    assert in_json(GOOD | {"amount": 12})["amount"] == 12


@pytest.mark.parametrize("column", ["transaction_id", "description", "merchant"])
def test_a_lone_surrogate_is_a_reject(column: str) -> None:
    """JSON can hold what no frame and no database can."""
    assert in_json(GOOD | {column: "a\ud800"}) == (
        f"invalid_{column}",
        column,
        f"{column} holds a lone surrogate",
    )


def test_id_is_another_name() -> None:
    """Messages and API bodies may say `id`."""
    row = {("id" if name == "transaction_id" else name): value for name, value in GOOD.items()}
    assert in_json(row)["transaction_id"] == "t-1"
    assert in_json(row | {"id": ""})[:2] == ("missing_transaction_id", "transaction_id")


def test_of_an_id_that_is_too_long_its_beginning_is_kept() -> None:
    """As many characters as an id may have, not bytes: letters stay small enough to be sent."""
    _, rejects = split(pl.DataFrame([{"row": 0} | GOOD | {"transaction_id": "☕" * 300_000}]))
    (reject,) = rejects.iter_rows(named=True)
    assert (reject["code"], reject["transaction_id"]) == ("transaction_id_too_long", "☕" * 128)


def test_messages_hold_no_content() -> None:
    """A message may be logged; a value may not."""
    secret = "SECRET" * 200
    for column in COLUMNS:
        verdict = in_json(GOOD | {column: secret})
        assert "SECRET" not in str(verdict)


def test_currencies_are_those_of_iso_4217() -> None:
    """As many active codes as the list has, and none for tests."""
    assert {"EUR", "USD", "GBP", "JPY", "CHF"} < CURRENCIES
    assert not {"XTS", "XXX", "DEM"} & CURRENCIES


def test_an_amount_of_another_kind_is_told_which_kinds_there_are() -> None:
    """Numbers are taken as well as strings; what is neither learns so."""
    with pytest.raises(ValidationError, match="amount must be a string or a number"):
        Transaction.model_validate({"amount": True})
