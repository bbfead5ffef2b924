"""Answers of one version, or none."""

from dataclasses import dataclass

import polars as pl
import pytest

from assay.domain.chunk import Chunk
from assay.domain.errors import Replaced, Unavailable
from assay.domain.prediction import VERDICTS
from assay.domain.rescore import decode
from assay.memory.clock import MemoryClock
from assay.pipeline.rescore import Pinned
from assay.testing.frames import outcome

ASKED = outcome(["a", "b"]).classified


@dataclass
class Versions:
    """Answers with these versions, one for each row; None: a reject, which has none."""

    versions: tuple[str | None, ...] = ("2", "2")

    def classify(self, transactions: pl.DataFrame) -> pl.DataFrame:
        del transactions
        rows = [
            {"status": "ok" if each else "reject", "model_version": each, "model_name": "linear"}
            for each in self.versions
        ]
        return pl.DataFrame(rows, schema=VERDICTS)


def test_answers_of_another_version_are_an_outage_at_first() -> None:
    """As many seconds as it takes until all processes of an API have the same one; then the end."""
    inner, clock = Versions(), MemoryClock()
    pinned = Pinned(inner, "linear", "2", clock, settles=60)
    assert pinned.classify(ASKED).height == 2
    for versions in ("2", "3"), ("3", None):
        inner.versions = versions
        with pytest.raises(Unavailable, match=r"linear 3, and this run predicts with linear 2$"):
            pinned.classify(ASKED)
        clock.move(59)
    inner.versions = ("2", None)
    assert pinned.classify(ASKED).height == 2
    inner.versions = ("3", "3")
    for _ in range(2):
        with pytest.raises(Unavailable):
            pinned.classify(ASKED)
        clock.move(30)
    with pytest.raises(Replaced, match="run again to predict all with 3"):
        pinned.classify(ASKED)


def test_another_model_of_the_same_version_is_another_one() -> None:
    """Predictions are kept by both."""
    pinned = Pinned(Versions(), "tree", "2", MemoryClock(), settles=0)
    with pytest.raises(Replaced, match="linear 2, and this run predicts with tree 2"):
        pinned.classify(ASKED)


def test_other_chunks_are_no_stored_transactions() -> None:
    """Their records would have to be read."""
    with pytest.raises(TypeError):
        decode(Chunk((), outcome(["a"]).records.clear()))
