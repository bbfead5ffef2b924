"""The port suite of `assay.ports.classifier`."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from assay.domain.prediction import VERDICTS
from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay.domain.transaction import TRANSACTIONS
from assay.ports.classifier import Classifier

AWKWARD = (
    "CORNER BAKERY",
    " ",
    "line\nbreak\r\n\tand \"quotes\", commas; 'and' \\backslashes\\",
    "\u202eright to left \U0001f469\u200d\U0001f469\u200d\U0001f467 \u2028 e\u0301",
    "<script>alert(1)</script> {} [] null NaN ${HOME} %s",
    "x" * 1024,
    "\U0001f4b6" * 1024,
)
"""Descriptions that are valid all the same."""


def transactions(descriptions: list[str]) -> pl.DataFrame:
    """A frame shaped as `TRANSACTIONS` with these descriptions, and every other column varied."""
    rows = [
        {
            "row": 7 * number,
            "transaction_id": f"t-{number}",
            "description": description,
            "amount": Decimal(number * 99) / 100 if number % 5 else Decimal("9999999999999999.99"),
            "currency": ("EUR", "GBP", "JPY")[number % 3],
            "timestamp": datetime(2024, 2, 28, 23, 59, 59, number, UTC) + timedelta(days=number),
            "merchant": None if number % 2 else "Corner Bakery",
            "operation_type": ("payment", "direct_debit", "transfer", "refund")[number % 4],
            "side": ("debit", "credit")[number % 2],
            "mcc": None if number % 3 else "5462",
        }
        for number, description in enumerate(descriptions)
    ]
    return pl.DataFrame(rows, schema=TRANSACTIONS)


class ClassifierSuite:
    """What every classifier keeps; an adapter adds how to make one that knows any text.

    Attributes:
        taxonomy: the categories that it may answer with.
    """

    taxonomy: Taxonomy = DEFAULT

    @pytest.fixture
    def classifier(self) -> Classifier:
        """The classifier under test."""
        raise NotImplementedError

    def test_one_transaction_gets_one_verdict(self, classifier: Classifier) -> None:
        """One row is a call like any other."""
        verdicts = classifier.classify(transactions(["CORNER BAKERY"]))
        assert verdicts.schema == VERDICTS
        assert verdicts["status"].to_list() == ["ok"]

    def test_verdicts_come_in_the_order_asked(self, classifier: Classifier) -> None:
        """The verdicts of a frame in another order are the same verdicts in that order."""
        asked = transactions([f"{text} {n}"[:1024] for n in range(200) for text in AWKWARD])
        verdicts = classifier.classify(asked)
        assert verdicts.schema == VERDICTS
        assert verdicts.height == asked.height
        backwards = classifier.classify(asked.reverse())
        assert backwards["category"].to_list() == verdicts["category"].reverse().to_list()

    def test_an_ok_is_a_whole_prediction(self, classifier: Classifier) -> None:
        """An `ok` names a category of the taxonomy, a probability and a model, and no code."""
        verdicts = classifier.classify(transactions(list(AWKWARD)))
        good = verdicts.filter(status="ok")
        assert good.height == len(AWKWARD)
        assert set(good["category"]) <= set(self.taxonomy.categories)
        assert good["confidence"].is_between(0, 1).all()
        for column in ("needs_review", "model_name", "model_version"):
            assert good[column].null_count() == 0
        assert good["code"].null_count() == good["message"].null_count() == good.height

    def test_ids_may_repeat(self, classifier: Classifier) -> None:
        """Two transactions with one id get a verdict each."""
        asked = transactions(["CORNER BAKERY", "MONTHLY RENT", "CORNER BAKERY"])
        verdicts = classifier.classify(asked.with_columns(transaction_id=pl.lit("t-1")))
        assert verdicts["status"].to_list() == ["ok"] * 3

    def test_the_question_is_left_as_it_was(self, classifier: Classifier) -> None:
        """Rows may be numbered in any way, and the frame is not changed."""
        asked = transactions(["CORNER BAKERY", "MONTHLY RENT"]).reverse()
        before = asked.clone()
        assert classifier.classify(asked).height == asked.height
        assert asked.equals(before)

    def test_several_threads_may_ask_at_once(self, classifier: Classifier) -> None:
        """Each thread gets the verdicts of its own question."""
        asked = [transactions([f"SHOP {n}"] * (n + 1)) for n in range(12)]
        with ThreadPoolExecutor(4) as pool:
            answered = list(pool.map(classifier.classify, asked))
        assert [each.height for each in answered] == [each.height for each in asked]
        assert all((each["status"] == "ok").all() for each in answered)
