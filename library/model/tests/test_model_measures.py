"""Measures against values that were worked by hand or taken from a table."""

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_model.measures import (
    accepting,
    by_category,
    calibration_error,
    clustered,
    confusion,
    costs,
    curve,
    macro_f1,
    reliability,
    wilson,
)

KINDS = pl.Enum(["A", "B", "C", "D"])
ANSWERED = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 0.5001, 0.9, 1.0])), min_size=1
)


def judged(*rows: tuple[str, str, float]) -> pl.DataFrame:
    """Truth, answer, confidence; below 0.5 to be reviewed; 10, 20, 30 … pounds."""
    frame = pl.DataFrame(rows, schema=["truth", "predicted", "confidence"], orient="row")
    return frame.with_columns(
        pl.col("truth", "predicted").cast(KINDS),
        needs_review=pl.col("confidence") < 0.5,
        amount=10.0 * pl.int_range(1, pl.len() + 1),
        currency=pl.lit("GBP"),
    )


ROWS = judged(
    ("A", "A", 0.9),
    ("A", "B", 0.8),
    ("B", "B", 0.7),
    ("B", "C", 0.4),
    ("B", "B", 0.3),
)


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    [
        # Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_s_interval_is_the_published_one(
    hits: int, rows: int, low: float, high: float
) -> None:
    """Four digits as printed."""
    found = wilson(hits, rows)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_nothing_is_known_of_no_rows() -> None:
    """The interval of no rows is everything."""
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)


def test_rows_of_one_merchant_are_no_independent_witnesses() -> None:
    """Forty rows of four merchants, each right or wrong throughout, tell what four rows would."""
    right = np.repeat([True, False, True, False], 10)
    found = clustered(right, np.repeat([1, 2, 3, 4], 10))
    # Between groups: sum of 5 squared four times, over 40 squared, times 4/3; independent: 1/160.
    effective = 40 / ((4 * 25 / 1600 * 4 / 3) / (0.25 / 40))
    assert effective == pytest.approx(3)
    assert found == wilson(effective / 2, effective)


def test_rows_of_their_own_are_independent() -> None:
    """With a merchant for each row it is Wilson's interval, but for the usual n - 1."""
    right = np.array([True] * 81 + [False] * 182)
    found = clustered(right, np.arange(263))
    assert (found.low, found.high) == pytest.approx((0.2553, 0.3662), abs=2e-4)


def test_all_right_counts_the_merchants() -> None:
    """Where every row is right there is no variance to go by: each merchant counts once."""
    right = np.ones(20, dtype=bool)
    assert clustered(right, np.arange(20) // 5) == wilson(4, 4)
    assert clustered(right, np.zeros(20)) == wilson(1, 1)


def test_categories_are_told_one_by_one() -> None:
    """Worked by hand; a category that is only answered is there as well, an absent one is not."""
    assert by_category(ROWS).to_dicts() == [
        {
            "category": "A",
            "rows": 2,
            "answered": 1,
            "hits": 1,
            "precision": 1.0,
            "recall": 0.5,
            "f1": pytest.approx(2 / 3),
            "confidence": 0.9,
        },
        {
            "category": "B",
            "rows": 3,
            "answered": 3,
            "hits": 2,
            "precision": pytest.approx(2 / 3),
            "recall": pytest.approx(2 / 3),
            "f1": pytest.approx(2 / 3),
            "confidence": pytest.approx(0.6),
        },
        {
            "category": "C",
            "rows": 0,
            "answered": 1,
            "hits": 0,
            "precision": 0.0,
            "recall": None,
            "f1": 0.0,
            "confidence": 0.4,
        },
    ]


def test_macro_f1_is_the_mean_over_the_labels() -> None:
    """A category that is only answered has no part in it, nor have those of too few rows."""
    found = by_category(
        judged(("A", "A", 1), ("A", "B", 1), ("B", "B", 1), ("B", "C", 1), ("B", "B", 1))
    )
    assert macro_f1(found) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert macro_f1(
        by_category(judged(("A", "A", 1), ("A", "B", 1), ("B", "B", 1), ("B", "C", 1)))
    ) == (pytest.approx((2 / 3 + 2 / 4) / 2))
    assert macro_f1(found, 3) == pytest.approx(2 / 3)
    assert macro_f1(found, 4) is None


def test_calibration_error_is_the_weighted_gap() -> None:
    """Worked by hand: two bins, one perfectly calibrated and one 0.3 too sure."""
    right = np.array([True, False, True, False])
    confidence = np.array([0.5, 0.5, 0.8, 0.8])
    assert calibration_error(right, confidence) == pytest.approx(0.15)
    assert calibration_error(np.array([True]), np.array([1.0])) == 0


def test_reliability_tells_the_bins_that_hold_rows() -> None:
    """Worked by hand; full confidence falls into the last bin."""
    found = reliability(np.array([True, False, True, True]), np.array([0.5, 0.52, 0.95, 1.0]))
    assert found.to_dicts() == [
        {"least": 7 / 15, "rows": 2, "confidence": pytest.approx(0.51), "accuracy": 0.5},
        {"least": 14 / 15, "rows": 2, "confidence": pytest.approx(0.975), "accuracy": 1.0},
    ]


@given(ANSWERED)
def test_the_bins_hold_the_calibration_error(answered: list[tuple[bool, float]]) -> None:
    """The gaps of the reliability table, weighted by rows, are the calibration error."""
    right = np.array([each for each, _ in answered])
    confidence = np.array([each for _, each in answered])
    bins = reliability(right, confidence)
    gaps = ((bins["confidence"] - bins["accuracy"]).abs() * bins["rows"]).sum() / right.size
    assert calibration_error(right, confidence) == pytest.approx(gaps)
    assert bins["rows"].sum() == right.size


@given(ANSWERED, st.sampled_from([0.5, 0.9, 0.95]))
def test_the_threshold_accepts_as_much_as_possible(
    answered: list[tuple[bool, float]], accuracy: float
) -> None:
    """Among all thresholds that keep so much right, the one that accepts the most rows."""
    right = np.array([each for each, _ in answered])
    confidence = np.array([each for _, each in answered])
    good = [
        threshold
        for threshold in sorted(set(confidence.tolist()))
        if right[confidence >= threshold].mean() >= accuracy
    ]
    assert accepting(right, confidence, accuracy) == (good[0] if good else math.inf)


@given(ANSWERED)
def test_the_curve_says_what_each_threshold_accepts(answered: list[tuple[bool, float]]) -> None:
    """Each point is what its threshold does to the rows; the last one accepts all."""
    right = np.array([each for each, _ in answered])
    confidence = np.array([each for _, each in answered])
    found = curve(right, confidence)
    for threshold, coverage, accuracy in found.iter_rows():
        accepted = confidence >= threshold
        assert coverage == pytest.approx(accepted.mean())
        assert accuracy == pytest.approx(right[accepted].mean())
    assert found["coverage"].is_sorted()
    assert found["coverage"][-1] == 1


def test_the_curve_of_many_thresholds_is_short() -> None:
    """A hundred points stand for ten thousand, one for each percent of the rows."""
    confidence = np.linspace(0, 1, 10_000)
    found = curve(confidence > 0.5, confidence)
    assert found["coverage"].to_list() == pytest.approx([each / 100 for each in range(1, 101)])


def test_confusions_are_counted_by_the_true_category() -> None:
    """Worked by hand: most rows first; shares of a true category add up to one."""
    assert confusion(ROWS).rows() == [
        ("B", "B", 2, pytest.approx(2 / 3)),
        ("A", "A", 1, 0.5),
        ("A", "B", 1, 0.5),
        ("B", "C", 1, pytest.approx(1 / 3)),
    ]


def test_errors_cost_their_amount() -> None:
    """Worked by hand: refunds count with the size of theirs, rows without an amount not at all."""
    rows = ROWS.with_columns(
        amount=pl.Series([10.0, -20.0, 30.0, 40.5, None]),
        currency=pl.Series(["GBP", "GBP", "GBP", "EUR", "GBP"]),
    )
    assert costs(rows).rows() == [
        ("GBP", 60.0, 20.0, 60.0, 20.0),
        ("EUR", 40.5, 40.5, 0.0, 0.0),
    ]
    assert costs(rows.with_columns(amount=pl.lit(None, pl.Float64))).is_empty()
