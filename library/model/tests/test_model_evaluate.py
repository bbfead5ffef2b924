from decimal import Decimal

import polars as pl
import pytest

from assay_model.artifact import Artifact
from assay_model.evaluate import evaluate, judge
from assay_model.predict import Model


def test_a_model_is_measured_on_labelled_rows(artifact: Artifact) -> None:
    """Figures count the rows as they stand, repeated ones each time."""
    rows = pl.DataFrame(
        {
            "description": ["CITY TAXI 1", "CITY TAXI 1", "CORNER BAKERY", "CORNER BAKERY"] * 20,
            "category": ["Transportation", "Transportation", "Food", "Home"] * 20,
        }
    )
    found = evaluate(Model.of(artifact), rows)
    assert (found.rows, found.descriptors, found.merchants) == (80, 2, 2)
    assert (found.accuracy, found.categories, found.common) == (0.75, 3, 3)
    assert found.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3, abs=1e-6)
    assert evaluate(Model.of(artifact), rows.head(76)).macro_f1 == pytest.approx(1)
    assert evaluate(Model.of(artifact), rows.head(8)).macro_f1 is None
    assert found.accuracy_low < 0.75 < found.accuracy_high
    assert (found.accepted, found.accepted_accuracy) == (1.0, 0.75)
    assert (found.wrong_amount, found.accepted_wrong_amount) == (None, None)


def test_nothing_accepted_is_said_so(artifact: Artifact) -> None:
    """Where every row needs review, none was accepted wrongly."""
    rows = pl.DataFrame({"description": ["\U0001f937"], "category": ["Nothing"]})
    found = evaluate(Model.of(artifact), rows)
    assert (found.accepted, found.accepted_accuracy, found.coverage_at_95) == (0.0, 1.0, 0.0)


def test_errors_are_weighed_by_amount(artifact: Artifact) -> None:
    """Of the currency with the largest sum, whatever the type of the amounts."""
    rows = pl.DataFrame(
        {
            "description": ["CITY TAXI 1", "CORNER BAKERY", "CORNER BAKERY"],
            "category": ["Transportation", "Food", "Home"],
            "amount": [Decimal("30.00"), Decimal("-60.00"), Decimal("10.00")],
            "currency": ["GBP", "GBP", "EUR"],
        }
    )
    assert evaluate(Model.of(artifact), rows).wrong_amount == 0.0
    rows = rows.with_columns(currency=pl.lit("GBP"))
    assert evaluate(Model.of(artifact), rows).wrong_amount == 0.1


def test_the_model_is_shown_all_but_the_label(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other columns are its own business."""
    shown: list[str] = []
    predict = Model.predict

    def noting(model: Model, transactions: pl.DataFrame) -> pl.DataFrame:
        shown.extend(transactions.columns)
        return predict(model, transactions)

    monkeypatch.setattr(Model, "predict", noting)
    rows = pl.DataFrame({"description": ["CITY TAXI"], "category": ["Food"], "mcc": ["4121"]})
    judge(Model.of(artifact), rows)
    assert shown == ["description", "mcc"]


def test_judged_rows_hold_no_text(artifact: Artifact) -> None:
    """Descriptions and merchants are numbers, equal for equal ones."""
    rows = pl.DataFrame(
        {"description": ["CITY TAXI 2", "CITY TAXI 1", "RAIL"], "category": ["Food"] * 3}
    )
    judged = judge(Model.of(artifact), rows)
    assert judged["group"].to_list() == [1, 1, 2]
    assert judged["descriptor"].to_list() == [2, 1, 3]
    assert not {"CITY TAXI 1", "RAIL"} & {str(value) for row in judged.rows() for value in row}
