"""A list is judged alike, one by one and in columns."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from assay_ml_api.records import sort

TEXT = st.text(max_size=6) | st.sampled_from(["", " ", "\x00", "\ud800", "x" * 1025, "\u2028"])
ODD = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(-(10**20), 10**20, allow_nan=False)
    | TEXT
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=2), st.integers(), max_size=2)
)
AMOUNT = st.sampled_from(
    ["1", "-1", "+1.5", "1.234", "1e5", ".5", "0x1", "9" * 17, 3, -3, 0, True, 10**30]
) | st.sampled_from([Decimal(each) for each in ("1.5", "-0.0", "1E+3", "1E-3", "1E+400")])
GOOD = {
    "transaction_id": "t-1",
    "description": "MONTHLY RENT",
    "amount": "1.00",
    "currency": "EUR",
    "timestamp": "2024-01-01T00:00:00Z",
    "merchant": None,
    "operation_type": "payment",
    "side": "debit",
    "mcc": None,
}
KEYS = st.sampled_from([*GOOD, "id", "unknown"])
CHANGES = st.dictionaries(KEYS, ODD, max_size=2) | st.fixed_dictionaries(
    {"amount": AMOUNT, "side": st.sampled_from(["debit", "credit"])}
)


@st.composite
def records(draw: st.DrawFn) -> object:
    """A good record with something changed or left out, or no record at all."""
    if draw(st.integers(0, 15)) == 0:
        return draw(ODD)
    record = dict(GOOD) | draw(CHANGES)
    for key in draw(st.lists(KEYS, max_size=2)):
        record.pop(key, None)
    return record


@given(st.lists(records(), max_size=12))
def test_both_ways_agree(given: list[object]) -> None:
    """Same verdict, same code, field, message and id, and the same transactions."""
    few, many = sort(given, "EUR", few=len(given)), sort(given, "EUR", few=-1)
    for one_by_one, in_columns in zip(few, many, strict=True):
        assert_frame_equal(one_by_one, in_columns)
    assert few[0].height + few[1].height == len(given)
    assert sorted([*few[0]["row"], *few[1]["row"]]) == list(range(len(given)))
