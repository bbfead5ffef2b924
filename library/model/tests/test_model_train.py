from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.domain.errors import DATA, Unreadable
from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay_model import corpus
from assay_model.artifact import Artifact, save
from assay_model.features import located
from assay_model.knowledge import Knowledge, taught
from assay_model.linear import dense, probabilities, quantise
from assay_model.predict import Model
from assay_model.regression import mixture
from assay_model.train import TESTED_FROM, build, calibrate, examples, fit, mix

Learn = Callable[[pl.DataFrame], Artifact]
Write = Callable[..., Path]


def test_equal_data_give_equal_bytes(tmp_path: Path, labels: pl.DataFrame, learn: Learn) -> None:
    """Training twice, from what is known to temperatures, rows in another order: the same file."""
    written: list[bytes] = []
    for rows in (labels, labels.reverse()):
        path = tmp_path / "model.npz"
        save(learn(rows), path)
        written.append(path.read_bytes())
    assert written[0] == written[1]


def test_equal_rows_weigh_their_root(labels: pl.DataFrame) -> None:
    """Sixteen equal rows weigh four."""
    rows = pl.concat([labels.head(1)] * 16)
    assert examples(rows)["weight"].to_list() == [4]


def test_a_category_of_which_nothing_is_known_is_never_answered(
    labels: pl.DataFrame, knowledge: Knowledge, small: Taxonomy
) -> None:
    """Nor does a probability turn out infinite, without traffic or without lessons."""
    rows = examples(labels)
    model = Model.of(build(fit(rows, mix(rows, knowledge, small), knowledge, small), {}, small, 0))
    texts = pl.DataFrame({"description": ["", "xyz", "taxi", "NIL RETURN", "HARBOUR TAXI"]})
    chances = probabilities(model.scores(texts))
    assert np.isfinite(chances).all()
    assert chances.sum(axis=1) == pytest.approx(1)
    answers = model.predict(texts)["category"].to_list()
    assert answers[2:] == ["Transportation", "Nothing", "Transportation"]
    assert chances[4, small.categories.index("Nothing")] < 0.01


def test_knowledge_carries_where_the_traffic_ends(
    labels: pl.DataFrame, knowledge: Knowledge, ignorance: Knowledge, small: Taxonomy
) -> None:
    """A brand that no row names is known; without the lexicon and its lessons it is not."""
    rows = examples(labels)
    asked = pl.DataFrame({"description": ["PEBBLE BREAD", "UMBRA SOFAS", "QUARREL RAIL"]})
    answers = {
        name: Model.of(build(fit(rows, mix(rows, each, small), each, small), {}, small, 0))
        .predict(asked)["category"]
        .to_list()
        for name, each in (("knows", knowledge), ("does not", ignorance))
    }
    assert answers["knows"] == ["Food", "Home", "Transportation"]
    assert answers["does not"] != answers["knows"]


def test_calibration_mends_confidence(
    labels: pl.DataFrame, knowledge: Knowledge, small: Taxonomy
) -> None:
    """On held-out rows of which a quarter is labelled otherwise, confidence comes out near 3/4.

    Of texts that were learnt and of merchants that were not, each for itself.
    """
    rows = examples(labels)
    weights = fit(rows, mix(rows, knowledge, small), knowledge, small)
    wrong = {"Food": "Home", "Home": "Transportation", "Transportation": "Food"}
    quarter = pl.int_range(pl.len()) % 4 == 0
    often = pl.concat([labels, labels.with_columns(pl.format("ZEPHYR {}", "description"))])
    held_out = often.with_columns(
        pl.when(quarter).then(pl.col("category").replace(wrong)).otherwise("category")
    )
    temperatures, review_below = calibrate(weights, held_out, small)
    weights = replace(weights, temperatures=temperatures)
    predictions = Model.of(build(weights, {}, small, review_below)).predict(held_out)
    assert set(predictions["seen"]) == {True, False}
    for seen in (True, False):
        confidence = predictions.filter(pl.col("seen") == seen)["confidence"]
        assert confidence.mean() == pytest.approx(0.75, abs=0.05)
    assert predictions["needs_review"].any()


def test_confidence_rises_with_the_margin() -> None:
    """A larger margin never means less confidence, however large it is."""
    margins = np.concatenate([np.linspace(0, 60, 500), [1e3, 1e6, 1e300]])
    rows = np.stack([margins, np.zeros_like(margins), np.zeros_like(margins)], axis=1)
    confidence = probabilities(rows)[:, 0]
    assert np.isfinite(confidence).all()
    assert (np.diff(confidence) >= 0).all()
    assert confidence[0] == pytest.approx(1 / 3)
    assert confidence[-1] == 1


def test_eight_bits_stay_near_the_weights() -> None:
    """No weight moves by more than 1/254 of its category's largest one."""
    weights = np.random.default_rng(7).normal(size=(16, 3)) * [1, 100, 0]
    layer = quantise(weights, np.ones(16), np.zeros(3))
    largest = np.abs(weights).max(axis=0)
    assert (np.abs(dense(layer)[:, :-1] - weights) <= largest / 254 + 1e-4 * largest).all()
    assert layer.bits == 4


def test_a_mixture_believes_whom_it_should() -> None:
    """One model that knows and one that guesses; a category it confuses is told apart."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 3000)
    knows = np.eye(3)[truth] * 4 + rng.normal(size=(3000, 3))
    mixed = mixture([knows, rng.normal(size=(3000, 3))], truth, np.ones(3000), penalty=1000)
    knowing, guessing = (np.diag(each).mean() for each in mixed.matrices)
    assert knowing > 2
    assert abs(guessing) < 0.2
    swapped = np.stack([knows[:, 0], knows[:, 2], knows[:, 1]], axis=1)
    again = mixture([swapped], truth, np.ones(3000), penalty=1)
    answers = (swapped @ again.matrices[0] + again.intercept).argmax(axis=1)
    assert (answers == truth).mean() > 0.95


def test_traffic_gets_its_category_from_the_code(write_data: Write) -> None:
    """Each row has the category of its code's wording, in the order of the file."""
    rows = corpus.traffic(write_data())
    assert rows.row(0) == (date(2020, 1, 1), "CITY TAXI 1001", Decimal("12.50"), "Transportation")
    assert rows.filter(pl.col("date") >= TESTED_FROM).height == 4


def test_lessons_speak_the_taxonomy(write_data: Write) -> None:
    """Brands follow their tag, any shop is Shopping, banks are none."""
    lessons = corpus.lessons(write_data())
    assert set(lessons["category"]) <= set(DEFAULT.categories)
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
    folder = write_data(codes="mcc,wording,category\n4121,Taxis,Transportation\n")
    with pytest.raises(Unreadable, match="no category for Bakeries"):
        corpus.traffic(folder)


def test_a_phrase_with_a_number_is_no_phrase() -> None:
    """In normalised text any reference number is the same one, and would be taken for it."""
    small = Taxonomy("small", "1", ("Food", "Home"))
    rows = [("office #", "Home", "brands", 1.0), ("bakery", "Food", "words", 1.0)]
    phrases = pl.DataFrame(rows, schema=["text", "category", "kind", "weight"], orient="row")
    lessons = pl.DataFrame({"description": ["SOFA"], "category": ["Home"], "weight": [1.0]})
    known = taught(lessons, phrases, small, bits=8)
    grams = located(pl.Series(["office #", "old bakery"]), bits=8)
    assert known.lexicon.find(grams).rows.tolist() == [1]
