import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assay_model.splits import at_random, by_merchant, merchant, never_seen, strings

TEXTS = ("CITY TAXI 1", "CITY TAXI 2", "CORNER BAKERY", "corner-bakery ltd", "RAIL 7", "7", "Oak")
ROWS = st.lists(st.tuples(st.sampled_from(TEXTS), st.sampled_from("AB")), min_size=1).map(
    lambda rows: pl.DataFrame(rows, schema=["description", "category"], orient="row")
)


def merchants(rows: pl.DataFrame) -> set[str]:
    return set(rows.select(merchant(pl.col("description"))).to_series())


def test_a_merchant_is_eight_letters() -> None:
    """Upper case, A to Z only: numbers, punctuation and accented letters do not count."""
    texts = pl.DataFrame({"description": ["Tesco Stores 3021", "caf\u00e9 7", "*** 12", "AB"]})
    found = texts.select(merchant(pl.col("description"))).to_series()
    assert found.to_list() == ["TESCOSTO", "CAF", "", "AB"]


def test_merchants_never_seen_are_those_without_a_row() -> None:
    """Another number does not make another merchant; the order stays."""
    learnt = pl.DataFrame({"description": ["CITY TAXI 1"]})
    rows = pl.DataFrame({"description": ["Oak", "city-taxi 9", "RAIL 7"], "n": [1, 2, 3]})
    assert never_seen(learnt, rows).rows() == [("Oak", 1), ("RAIL 7", 3)]


def test_each_description_stands_once() -> None:
    """With the category that it has most often, of equally frequent ones the first by name."""
    rows = pl.DataFrame(
        {
            "description": ["X", "X", "X", "W", "W"],
            "category": ["B", "A", "B", "D", "C"],
        }
    )
    assert strings(rows).rows() == [("W", "C"), ("X", "B")]


@given(ROWS)
def test_no_merchant_stands_on_both_sides(rows: pl.DataFrame) -> None:
    """Each merchant is held out in exactly one fold, and none of its rows is learnt there."""
    held_out: list[str] = []
    for known, judged in by_merchant(rows):
        assert merchants(known).isdisjoint(merchants(judged))
        assert (
            known.height
            + rows.filter(merchant(pl.col("description")).is_in(list(merchants(judged)))).height
            == rows.height
        )
        held_out += merchants(judged)
    assert sorted(held_out) == sorted(merchants(rows))


def test_folds_follow_from_the_names() -> None:
    """Merchants of one fold stay together, whatever other rows there are and in what order."""
    rows = pl.DataFrame({"description": [f"{a}{b} LTD" for a in "ABCDEFGH" for b in "XYZ"]})
    rows = rows.with_columns(category=pl.lit("A"))
    folds = [merchants(judged) for _, judged in by_merchant(rows)]
    assert len(folds) == 5
    for _, judged in by_merchant(rows.reverse().head(12)):
        assert any(merchants(judged) <= fold for fold in folds)


def test_random_rows_are_a_fifth_and_the_same_each_time() -> None:
    """Together the two parts are all rows."""
    rows = pl.DataFrame({"n": range(101)})
    known, held_out = at_random(rows)
    assert (known.height, held_out.height) == (80, 21)
    assert sorted([*known["n"], *held_out["n"]]) == list(range(101))
    assert at_random(rows)[1].equals(held_out)
    assert held_out["n"].to_list() != list(range(0, 101, 5))
