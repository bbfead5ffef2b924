"""Corrections as an object, and back."""

from datetime import UTC, datetime

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assay.domain.errors import DATA, Unreadable
from assay.wire.corrections import CORRECTIONS, read, write

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
_MOMENT = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001 - Hypothesis adds the zone


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Any corrections."""
    rows = st.tuples(_TEXT, st.none() | _TEXT, _TEXT, _MOMENT)
    return pl.DataFrame(draw(st.lists(rows, max_size=5)), schema=CORRECTIONS, orient="row")


@given(frames())
def test_corrections_come_back_as_they_went_in(corrections: pl.DataFrame) -> None:
    """Whatever they say; the latest last, whatever their order, and equal ones are equal bytes."""
    body = write(corrections)
    assert write(corrections.reverse()) == body
    found = read(body)
    assert found["at"].is_sorted()
    names = list(CORRECTIONS)
    assert_frame_equal(found.sort(names), corrections.sort(names))


def test_the_format_stays() -> None:
    """What is in registries can be read by the next version."""
    at = datetime(2026, 11, 26, 4, 5, 6, 7, UTC)
    corrections = pl.DataFrame([("BÄR 7", None, "Food", at)], schema=CORRECTIONS, orient="row")
    body = (
        '{"format": 1, "corrections": [\n'
        '{"description":"BÄR 7","merchant":null,"category":"Food",'
        '"at":"2026-11-26T04:05:06.000007Z"}\n]}\n'
    ).encode()
    assert write(corrections) == body
    assert_frame_equal(read(body), corrections)


def _document(merchant: str, at: str) -> bytes:
    members = f'"description": "SECRET", "merchant": {merchant}, "category": "Food", "at": "{at}"'
    return f'{{"format": 1, "corrections": [{{{members}}}]}}'.encode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "it "),
        (b"[]", "it "),
        (b'{"format": 2, "corrections": []}', "format must be 1"),
        (b'{"format": true, "corrections": []}', "format must be 1"),
        (b'{"format": 1.0, "corrections": []}', "format must be 1"),
        (b'{"format": 1}', "corrections is missing"),
        (b'{"format": 1, "corrections": [], "more": 1}', "more is unknown"),
        (_document("1", "2026-11-26T04:05:06Z"), "corrections.1.merchant "),
        (_document("null", "2026-11-26T04:05:06"), "corrections.1.at "),
        (_document("null", "0001-01-01T00:00:00+14:00"), "corrections.1.at must be within"),
        (_document("null", "9999-12-31T23:59:59-14:00"), "corrections.1.at must be within"),
        (_document('"\\ud800"', "2026-11-26T04:05:06Z"), ""),
        (b"\xff", ""),
    ],
)
def test_what_is_no_such_object_is_refused(body: bytes, said: str) -> None:
    """The message names the place, and quotes nothing."""
    with pytest.raises(Unreadable) as refused:
        read(body)
    assert f"no corrections can be read: {said}" in str(refused.value)
    assert "SECRET" not in str(refused.value)
    assert refused.value.exit_code == DATA


def test_no_corrections_are_corrections() -> None:
    """As after the last one was withdrawn."""
    empty = pl.DataFrame(schema=CORRECTIONS)
    assert_frame_equal(read(write(empty)), empty)
