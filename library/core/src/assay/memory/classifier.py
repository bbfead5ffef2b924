"""A classifier that knows what it is told."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from assay.domain.errors import Refused
from assay.domain.prediction import VERDICTS
from assay.memory.faults import Faults

CATEGORY: Final = "Shopping"


@dataclass
class MemoryClassifier:
    """Answers `ok` for every id but those named.

    Attributes:
        poison: a call that holds one of these ids is refused as a whole.
        rejects: ids whose verdict is `reject`.
        retries: ids whose verdict is `retry` for that many times.
        most: a call of more records is refused as too much; None takes any.
        calls: the sizes of the calls so far.
        faults: at `classify` and `classify.done`.
    """

    poison: set[str] = field(default_factory=set[str])
    rejects: set[str] = field(default_factory=set[str])
    retries: Counter[str] = field(default_factory=Counter[str])
    most: int | None = None
    calls: list[int] = field(default_factory=list[int])
    faults: Faults = field(default_factory=Faults)

    def classify(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """A verdict for each transaction, in the same order."""
        self.faults.at("classify")
        self.calls.append(transactions.height)
        if self.most is not None and transactions.height > self.most:
            raise Refused("too large", too_much=True)
        ids = transactions["transaction_id"].to_list()
        if self.poison.intersection(ids):
            raise Refused("the classifier refused the call")
        verdicts = pl.DataFrame([self._verdict(each) for each in ids], schema=VERDICTS)
        self.faults.at("classify.done")
        return verdicts

    def _verdict(self, transaction_id: str) -> dict[str, object]:
        model: dict[str, object] = {"model_name": "memory", "model_version": "1"}
        if transaction_id in self.rejects:
            return model | {"status": "reject", "code": "unknown_text", "message": "not a text"}
        if self.retries[transaction_id] > 0:
            self.retries[transaction_id] -= 1
            return model | {"status": "retry", "code": "busy", "message": "ask again"}
        return model | {
            "status": "ok",
            "category": CATEGORY,
            "confidence": 0.9,
            "needs_review": False,
        }
