import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_model.artifact import Artifact
from assay_model.evaluate import accepting, calibration_error, evaluate, macro_f1
from assay_model.predict import Model

JUDGED = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.2, 0.5, 0.5001, 0.9, 1.0])))


def test_macro_f1_is_the_mean_over_the_labels() -> None:
    """Worked by hand; a category that is only answered, never a label, has no part in the mean."""
    truth, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 2])
    assert macro_f1(truth, predicted) == pytest.approx((2 / 3 + 2 / 4) / 2)


def test_calibration_error_is_the_weighted_gap() -> None:
    """Worked by hand: two bins, one perfectly calibrated and one 0.3 too sure."""
    right = np.array([True, False, True, False])
    confidence = np.array([0.5, 0.5, 0.8, 0.8])
    assert calibration_error(right, confidence) == pytest.approx(0.15)
    assert calibration_error(np.array([True]), np.array([1.0])) == 0


@given(JUDGED.filter(bool))
def test_the_threshold_accepts_as_much_as_possible(judged: list[tuple[bool, float]]) -> None:
    """Among all thresholds that keep 95 % right, the one that accepts the most rows."""
    right = np.array([each for each, _ in judged])
    confidence = np.array([each for _, each in judged])
    good = [
        threshold
        for threshold in sorted(set(confidence.tolist()))
        if right[confidence >= threshold].mean() >= 0.95
    ]
    assert accepting(right, confidence, 0.95) == (good[0] if good else float("inf"))


def test_a_model_is_measured_on_labelled_rows(artifact: Artifact) -> None:
    """Figures count the rows as they stand, repeated ones each time."""
    rows = pl.DataFrame(
        {
            "description": ["CITY TAXI 1", "CITY TAXI 1", "CORNER BAKERY", "CORNER BAKERY"],
            "category": ["Transportation", "Transportation", "Food", "Home"],
        }
    )
    found = evaluate(Model.of(artifact), rows)
    assert (found.rows, found.accuracy) == (4, 0.75)
    assert found.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert found.accepted == 1.0
    assert found.accepted_accuracy == 0.75


def test_nothing_accepted_is_said_so(artifact: Artifact) -> None:
    """Where every row needs review, none was accepted wrongly."""
    rows = pl.DataFrame({"description": ["\U0001f937"], "category": ["Nothing"]})
    found = evaluate(Model.of(artifact), rows)
    assert (found.accepted, found.accepted_accuracy, found.coverage_at_95) == (0.0, 1.0, 0.0)
