"""Drift: the index, the window, and the reference that training leaves behind."""

import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_model.artifact import Artifact
from assay_model.drift import Figures, Window, drift, reference, stability_index
from assay_model.predict import Model

NAMES = ("Food", "Home", "Travel")
COUNTS = st.lists(st.integers(0, 10_000), min_size=3, max_size=3).filter(any)


def answers(
    categories: list[str],
    *,
    confidence: float = 0.5,
    review: bool = False,
    seen: bool | None = None,
) -> pl.DataFrame:
    """Answers of these categories, alike in all else."""
    frame = pl.DataFrame({"category": pl.Series(categories, dtype=pl.Enum(NAMES))}).with_columns(
        confidence=pl.lit(confidence), needs_review=pl.lit(review)
    )
    return frame if seen is None else frame.with_columns(seen=pl.lit(seen))


def full(window: Window) -> Figures:
    """What a window says that has something to say."""
    figures = window.figures()
    assert figures is not None
    return figures


def test_the_index_is_that_of_the_books() -> None:
    """Of large counts, so that the half that is added does not show: a sum done by hand."""
    found = stability_index(np.array([5e9, 3e9, 2e9]), np.array([4e9, 4e9, 2e9]))
    by_hand = 0.1 * math.log(0.5 / 0.4) - 0.1 * math.log(0.3 / 0.4)
    assert found == pytest.approx(by_hand, abs=1e-8)


@given(COUNTS, COUNTS)
def test_the_index_is_a_distance(now: list[int], before: list[int]) -> None:
    """Finite and not negative, the same both ways, 0 between equals, empty classes or not."""
    one, other = np.array(now, np.float64), np.array(before, np.float64)
    assert math.isfinite(stability_index(one, other))
    assert stability_index(one, other) >= 0
    assert stability_index(one, other) == pytest.approx(stability_index(other, one))
    assert stability_index(one, one) == 0


def test_chance_alone_stays_far_below_the_alert() -> None:
    """Samples of one mix differ by about what theory says: (classes - 1) (1/n + 1/m)."""
    generator = np.random.default_rng(7)
    mix = generator.dirichlet(np.ones(20))
    found = [
        stability_index(
            generator.multinomial(20_000, mix).astype(np.float64),
            generator.multinomial(9_794, mix).astype(np.float64),
        )
        for _ in range(50)
    ]
    assert np.mean(found) == pytest.approx(19 * (1 / 20_000 + 1 / 9_794), rel=0.25)
    assert max(found) < 0.02


def test_a_window_says_nothing_before_it_is_full() -> None:
    """One record short of its size is short."""
    window = Window(NAMES, size=100)
    assert window.figures() is None
    window.add(answers(["Food"] * 99))
    assert window.figures() is None
    window.add(answers([]))
    assert window.figures() is None
    window.add(answers(["Food"]))
    assert full(window).mix.tolist() == [1, 0, 0]


def test_a_full_window_has_the_shares_of_its_records() -> None:
    """Of equal calls: mix, mean confidence, review, unseen."""
    window = Window(NAMES, size=60)
    for _ in range(20):
        window.add(answers(["Food", "Food", "Home"], confidence=0.75, review=True, seen=False))
    figures = full(window)
    assert figures.mix == pytest.approx([2 / 3, 1 / 3, 0])
    assert (figures.mean_confidence, figures.review_share) == (
        pytest.approx(0.75),
        pytest.approx(1),
    )
    assert figures.unseen_share == pytest.approx(1)


def test_the_latest_records_count_most() -> None:
    """What is older than a few sizes of the window is forgotten, however the calls were cut."""
    for call in (1, 7, 500):
        window = Window(NAMES, size=100)
        window.add(answers(["Food"] * 100_000, confidence=0.9))
        for _ in range(0, 500, call):
            window.add(answers(["Home"] * call, confidence=0.1, review=True))
        figures = full(window)
        assert figures.mix[0] < 0.001
        assert figures.mean_confidence == pytest.approx(0.1, abs=0.001)
        assert figures.review_share == pytest.approx(1, abs=0.001)
        window.add(answers(["Travel"] * 50))
        assert full(window).mix[2] == pytest.approx(1 - (99 / 101) ** 50, abs=1e-3)


def test_a_model_that_does_not_say_what_it_has_seen_has_no_such_share() -> None:
    """Neither where one call lacks the column."""
    window = Window(NAMES, size=2)
    window.add(answers(["Food"], seen=True))
    window.add(answers(["Food"]))
    assert full(window).unseen_share is None


def test_threads_share_a_window() -> None:
    """Nothing is lost: the weights of all records together are what they would be one by one."""
    window = Window(NAMES, size=100_000)
    call = answers(["Food", "Home"])
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(window.add, [call] * 1_000))
    finally:
        sys.setswitchinterval(interval)
    decay = 99_999 / 100_001
    assert vars(window)["_mix"].sum() == pytest.approx((1 - decay**2_000) / (1 - decay))


def test_the_reference_is_what_the_model_answers(artifact: Artifact) -> None:
    """Counted by row, as JSON, and at no distance from itself."""
    model = Model.of(artifact)
    rows = pl.DataFrame({"description": ["CITY TAXI"] * 60 + ["CORNER BAKERY"] * 30 + ["zz"] * 10})
    usual = json.loads(json.dumps(reference(model, rows)))
    predicted = model.predict(rows)
    assert usual["rows"] == 100
    assert usual["categories"] == dict(predicted["category"].cast(str).value_counts().rows())
    assert usual["mean_confidence"] == pytest.approx(predicted["confidence"].mean(), abs=1e-4)
    assert usual["review_share"] == predicted["needs_review"].mean()
    assert usual["unseen_share"] == 1
    assert not predicted["seen"].any()
    window = Window(model.taxonomy.categories, size=100)
    window.add(predicted)
    names = model.taxonomy.categories
    assert drift(full(window), 100, usual, names) == pytest.approx(0, abs=1e-9)
    window.add(predicted.filter(pl.col("category") == "Food"))
    assert drift(full(window), 100, usual, names) > 0.1


def test_no_rows_are_no_reference(artifact: Artifact) -> None:
    """Training without calibration rows would be a mistake."""
    with pytest.raises(ValueError, match="no rows"):
        reference(Model.of(artifact), pl.DataFrame({"description": []}, {"description": pl.String}))
