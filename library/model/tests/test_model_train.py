from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.domain.errors import DATA, Unreadable
from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay_model import corpus
from assay_model.artifact import save
from assay_model.linear import dense, logits, probabilities, quantise
from assay_model.predict import Model
from assay_model.train import TESTED_FROM, build, calibrate, examples, fit

Write = Callable[..., Path]


def test_equal_data_give_equal_bytes(tmp_path: Path, labels: pl.DataFrame, small: Taxonomy) -> None:
    """Training twice, rows in another order, writes the same file."""
    lessons = labels.head(3).with_columns(weight=pl.lit(0.3))
    written: list[bytes] = []
    for rows in (labels, labels.reverse()):
        layer = fit(examples(rows, lessons), small, bits=12)
        path = tmp_path / "model.npz"
        save(build(layer, small, *calibrate(layer, rows, small)), path)
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_equal_rows_weigh_their_root(labels: pl.DataFrame) -> None:
    """Sixteen equal rows weigh four; an equal lesson's weight comes on top."""
    rows = pl.concat([labels.head(1)] * 16)
    lessons = labels.head(1).with_columns(weight=pl.lit(0.5))
    assert examples(rows, lessons)["weight"].to_list() == [4.5]


def test_a_category_without_examples_is_never_answered(
    labels: pl.DataFrame, lessons: pl.DataFrame, small: Taxonomy
) -> None:
    """Even a text that says nothing does not get it, and no probability turns out infinite."""
    layer = fit(examples(labels, lessons), small, bits=12)
    chances = probabilities(
        logits(dense(layer), layer.intercept, pl.Series(["", "xyz", "taxi"])), temperature=1.0
    )
    assert np.isfinite(chances).all()
    assert (chances[:, small.categories.index("Nothing")] < 1e-9).all()
    assert chances.sum(axis=1) == pytest.approx(1)


def test_calibration_mends_confidence(
    labels: pl.DataFrame, lessons: pl.DataFrame, small: Taxonomy
) -> None:
    """On held-out rows of which a quarter is labelled otherwise, confidence comes out near 3/4."""
    layer = fit(examples(labels, lessons), small, bits=12)
    wrong = {"Food": "Home", "Home": "Transportation", "Transportation": "Food"}
    quarter = pl.int_range(pl.len()) % 4 == 0
    held_out = labels.with_columns(
        pl.when(quarter).then(pl.col("category").replace(wrong)).otherwise("category")
    )
    temperature, review_below = calibrate(layer, held_out, small)
    model = Model.of(build(layer, small, temperature, review_below))
    predictions = model.predict(held_out)
    assert predictions["confidence"].mean() == pytest.approx(0.75, abs=0.05)
    assert predictions["needs_review"].any()


def test_confidence_rises_with_the_margin() -> None:
    """A larger margin never means less confidence, at any temperature, however large it is."""
    margins = np.concatenate([np.linspace(0, 60, 500), [1e3, 1e6, 1e300]])
    rows = np.stack([margins, np.zeros_like(margins), np.zeros_like(margins)], axis=1)
    for temperature in (0.05, 1.0, 20.0):
        confidence = probabilities(rows, temperature)[:, 0]
        assert np.isfinite(confidence).all()
        assert (np.diff(confidence) >= 0).all()
        assert confidence[0] == pytest.approx(1 / 3)
        assert confidence[-1] == 1


def test_eight_bits_stay_near_the_weights() -> None:
    """No weight moves by more than 1/254 of its category's largest one."""
    weights = np.random.default_rng(7).normal(size=(3, 16)) * [[1], [100], [0]]
    layer = quantise(weights, np.ones(16), np.zeros(3))
    largest = np.abs(weights).max(axis=1, keepdims=True)
    assert (np.abs(dense(layer)[:, :-1].T - weights) <= largest / 254 + 1e-4 * largest).all()
    assert layer.bits == 4


def test_traffic_gets_its_category_from_the_code(write_data: Write) -> None:
    """Each row has the category of its code's wording, in the order of the file."""
    rows = corpus.traffic(write_data())
    assert rows.row(0) == (date(2020, 1, 1), "CITY TAXI 1", Decimal("12.50"), "Transportation")
    assert rows.filter(pl.col("date") >= TESTED_FROM).height == 4


def test_lessons_speak_the_taxonomy(write_data: Write) -> None:
    """Cues teach every category; brands follow their tag, any shop is Shopping, banks are none."""
    lessons = corpus.lessons(write_data())
    assert set(lessons["category"]) == set(DEFAULT.categories)
    known = dict(lessons.select("description", "category").rows())
    assert known["PEBBLE BREAD"] == "Food"
    assert known["ANYTHING ELSE"] == "Shopping"
    assert "SOME BANK" not in known


@pytest.mark.parametrize("missing", [corpus.TRAFFIC, corpus.CODES, corpus.BRANDS])
def test_a_missing_file_is_bad_data(write_data: Write, missing: str) -> None:
    """The error names the file."""
    folder = write_data()
    (folder / missing).unlink()
    with pytest.raises(Unreadable, match=missing) as refused:
        pl.concat([corpus.traffic(folder), corpus.lessons(folder)], how="diagonal")
    assert refused.value.exit_code == DATA


def test_a_wording_without_a_category_is_bad_data(write_data: Write) -> None:
    """The error names the wording."""
    folder = write_data(codes="wording,category\nTaxis,Transportation\n")
    with pytest.raises(Unreadable, match="no category for Bakeries"):
        corpus.traffic(folder)
