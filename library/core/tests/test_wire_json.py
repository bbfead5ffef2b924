"""JSON bodies are read strictly and without loss."""

import json as plain
import os
from decimal import Decimal
from pathlib import Path
from typing import cast

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay.testing.classifier import AWKWARD, transactions
from assay.wire.json import loads, write_objects, write_transactions

DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(DOCUMENTS)
def test_a_document_comes_back_as_it_was_written(document: object) -> None:
    """Whatever the standard library writes is read as it was, lone surrogates included."""
    assert loads(plain.dumps(document).encode()) == document


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_no_digit_of_a_number_is_lost(number: Decimal) -> None:
    """A number with a fraction is read as the decimal that it is, or refused."""
    written = f"{number:e}".replace("e+", "E+")
    if abs(number.adjusted()) < 900 and abs(int(written.lower().partition("e")[2] or 0)) <= 1000:
        assert loads(f"[{written}]".encode()) == [number]


def test_whole_numbers_and_fractions_are_told_apart() -> None:
    """A number is an integer where it is written as one."""
    assert repr(loads(b"[1, -0, 1.10, 1e2, 1234567890123456.78]")) == (
        "[1, 0, Decimal('1.10'), Decimal('1E+2'), Decimal('1234567890123456.78')]"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"nul",
        b"[1,]",
        b"[1] 2",
        b"{'a': 1}",
        b'{"a" 1}',
        b'["a\nb"]',
        b'["\\x41"]',
        b"[01]",
        b"[1.]",
        b"[.5]",
        b"[+1]",
        b"[0x1]",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"\xef\xbb\xbf[]",
        b'["\xff"]',
        b'["\xed\xa0\x80"]',
        "[]".encode("utf-16"),
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 100_000,
        b"[1e1001]",
        b"[1e-1001]",
        b"[1e99999999999999999999999999]",
        b"[" + b"9" * 5_000 + b"]",
    ],
    ids=lambda body: repr(body[:12]),
)
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    """Anything else ends in a ValueError whose message is short and made by us."""
    with pytest.raises(ValueError, match=r"JSON|number") as caught:
        loads(body)
    assert type(caught.value) is ValueError
    assert len(str(caught.value)) < 80


def test_a_message_holds_no_content() -> None:
    """What went wrong is told by its place."""
    with pytest.raises(ValueError, match="line 1, column 12") as caught:
        loads(b'["secret", secret]')
    assert "secret" not in str(caught.value)


def test_a_leading_zero_of_an_exponent_does_not_count() -> None:
    """An exponent is judged by its size, not by its length."""
    assert loads(b"[1e0000000001]") == [Decimal(10)]


def test_nan_may_be_read_as_null() -> None:
    """Where it is asked for, NaN and the infinities are null, and nothing else changes."""
    assert loads(b"[NaN, Infinity, -Infinity, 1.5]", nan_as_null=True) == [
        None,
        None,
        None,
        Decimal("1.5"),
    ]


def test_transactions_are_written_whole() -> None:
    """Amounts keep their digits, times their microseconds, and nulls stay nulls."""
    asked = transactions(list(AWKWARD))
    written = cast(list[dict[str, object]], loads(write_transactions(asked)))
    assert pl.DataFrame(written).equals(
        asked.drop("row").with_columns(
            pl.col("amount").cast(pl.String),
            pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"),
        )
    )


def test_no_objects_are_an_empty_list() -> None:
    """An empty series is written as an empty list, whatever it would hold."""
    assert write_objects(pl.Series([], dtype=pl.String)) == b"[]"
    assert write_objects(pl.Series([], dtype=pl.Struct({"a": pl.Int64}))) == b"[]"


def suite() -> list[Path]:
    """The files of JSONTestSuite."""
    folder = Path(os.environ["ASSAY_TEST_DATA"], "hostile", "JSONTestSuite", "test_parsing")
    return sorted(folder.glob("*.json"))


@pytest.mark.corpus
def test_json_test_suite() -> None:
    """`y_` files are read, `n_` files refused, `i_` files either, with nothing but ValueError."""
    read: set[str] = set()
    for path in suite():
        try:
            loads(path.read_bytes())
        except ValueError:
            continue
        read.add(path.name)
    names = {path.name for path in suite()}
    assert len(names) > 300
    assert {name for name in names if name.startswith("y_")} <= read
    assert not {name for name in read if name.startswith("n_")}
