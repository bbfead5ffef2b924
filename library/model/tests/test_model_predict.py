import json
import math
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from string import ascii_uppercase

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal

from assay_model import predict as predict_module
from assay_model.artifact import Artifact
from assay_model.cache import ANSWER, Cache
from assay_model.predict import Model
from assay_model.scores import Scorer

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1024)


def described(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"description": texts}, schema={"description": pl.String})


def assert_sane(predictions: pl.DataFrame, model: Model, rows: int) -> None:
    assert predictions.schema == {
        "category": pl.Enum(model.taxonomy.categories),
        "confidence": pl.Float64,
        "needs_review": pl.Boolean,
        "feature_hash": pl.String,
        "seen": pl.Boolean,
    }
    assert predictions.height == rows
    assert sum(predictions.null_count().row(0)) == 0
    for confidence in predictions["confidence"]:
        assert math.isfinite(confidence)
        assert 0 <= confidence <= 1
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in predictions["feature_hash"])


def test_predictions_stand_in_the_order_of_the_rows(artifact: Artifact) -> None:
    """Each row has the answer for its own text, repeated or not."""
    model = Model.of(artifact)
    predictions = model.predict(described("OLD TAXI", "MY BAKERY", "OLD TAXI", "NEW FURNITURE"))
    assert_sane(predictions, model, 4)
    assert predictions["category"].to_list() == ["Transportation", "Food", "Transportation", "Home"]
    assert predictions.row(0) == predictions.row(2)


def test_equal_normalised_texts_are_one_to_the_model(artifact: Artifact) -> None:
    """The feature hash names what the model saw: equal for equal texts, different otherwise."""
    predictions = Model.of(artifact).predict(
        described("CITY TAXI 1234", "City taxi 99999", "city-taxi")
    )
    assert predictions.row(0) == predictions.row(1)
    assert predictions["feature_hash"][0] != predictions["feature_hash"][2]


def test_no_transactions_give_no_predictions(artifact: Artifact) -> None:
    """An empty frame is answered with an empty frame of the same columns."""
    model = Model.of(artifact)
    assert_sane(model.predict(described()), model, 0)


def test_low_confidence_asks_for_review(artifact: Artifact) -> None:
    """So do texts of which no word is known, whatever the confidence; nothing else."""
    texts = ("CITY TAXI 1234", "HARBOUR", "\U0001f937", "taxiphone zzz", "#", "12345")
    for least in (0.0, 0.6, 1.0):
        predictions = Model.of(replace(artifact, review_below=least)).predict(described(*texts))
        below = (predictions["confidence"] < least).to_list()
        expected = [low or number > 1 for number, low in enumerate(below)]
        assert predictions["needs_review"].to_list() == expected


def test_it_tells_what_training_knew(artifact: Artifact) -> None:
    """`seen` is of the normalised text: another number of a shop is the same shop."""
    asked = described("CITY TAXI 1234", "City taxi 7", "CITY TAXI", "OAK TAXI RANK")
    assert Model.of(artifact).predict(asked)["seen"].to_list() == [True, False, False, False]


def test_fields_count_where_they_are_given(artifact: Artifact) -> None:
    """A code outweighs a text that says little; a null or an unknown value is nothing."""
    model = Model.of(artifact)
    bare = described("NIL RETURN", "XQ", "XQ", "XQ")
    given = bare.with_columns(
        side=pl.Series(["debit", "credit", None, "debit"]).cast(pl.Categorical),
        mcc=pl.Series([None, None, "4121", "0000"]),
    )
    plain, told = model.scores(bare), model.scores(given)
    expected = [[-3, 0, 0, 0], [0, 0, 0, 0], [0, 0, 6, 0], [-3, 0, 0, 0]]
    assert told - plain == pytest.approx(np.array(expected))
    assert model.predict(given)["category"][2] == "Transportation"
    assert model.predict(bare)["feature_hash"].equals(model.predict(given)["feature_hash"])


def test_a_code_says_what_unknown_words_do_not(artifact: Artifact) -> None:
    """Then a text of which no word is known needs no review for that; a side is too little."""
    asked = described("XQ", "XQ", "XQ").with_columns(
        mcc=pl.Series([None, None, "4121"]), side=pl.Series([None, "credit", "debit"])
    )
    answers = Model.of(replace(artifact, review_below=0.0)).predict(asked)
    assert answers["needs_review"].to_list() == [True, True, False]


def test_a_value_is_remembered_with_its_column(artifact: Artifact) -> None:
    """What one column says is no answer to another's, whatever the columns' types and codes."""
    model = Model.of(artifact)
    bare = described("XQ", "XQ")
    frames = [
        bare.with_columns(mcc=pl.lit("4121")),
        bare.with_columns(merchant=pl.lit("4121")),
        bare.with_columns(mcc=pl.Series(["4121", "5411"], dtype=pl.Enum(["4121", "5411"]))),
        bare.with_columns(mcc=pl.Series(["4121", "5411"], dtype=pl.Enum(["5411", "4121"]))),
    ]
    for frame in frames:
        assert_frame_equal(model.predict(frame), Model.of(artifact).predict(frame))


def test_a_merchant_is_known_by_its_name(artifact: Artifact) -> None:
    """That nobody has seen in the traffic, with or without its spaces."""
    answers = Model.of(artifact).predict(described("PEBBLE BREAD", "PEBBLEBREAD", "UMBRA SOFAS"))
    assert answers["category"].to_list() == ["Food", "Food", "Home"]


def test_the_merchant_counts(artifact: Artifact) -> None:
    """A description that says nothing is judged by the merchant."""
    frame = described("CARD 123456").with_columns(merchant=pl.lit("Village Bakery"))
    assert Model.of(artifact).predict(frame)["category"].to_list() == ["Food"]


@given(st.lists(ANY_TEXT, min_size=1, max_size=5))
def test_any_text_has_a_category(shipped: Model, texts: list[str]) -> None:
    """No text of 1 to 1,024 characters makes it fail."""
    assert_sane(shipped.predict(described(*texts)), shipped, len(texts))


@pytest.mark.parametrize(
    "text",
    [
        "\U0001f600" * 1024,
        "\u0301" * 1024,
        "\ufdfa" * 1024,  # unfolds into eighteen characters
        "\u202e\u05d0\u05d1\u200f",
        "0" * 1024,
        " " * 1024,
        "\t\r\n\x0b\x1f\x7f",
        "a" * 1024,
        "ab " * 341,
        "\U0010ffff",
        "\x00",
    ],
)
def test_extreme_texts_have_a_category(shipped: Model, text: str) -> None:
    """Emoji, combining marks, right-to-left, digits and blanks, up to the longest description."""
    assert_sane(shipped.predict(described(text, "CITY TAXI", text)), shipped, 3)


@pytest.mark.corpus
def test_naughty_strings_have_a_category(shipped: Model, corpora: Path) -> None:
    """None of the big list of naughty strings makes it fail."""
    naughty = json.loads((corpora / "hostile/blns/blns.json").read_text("utf-8"))
    assert_sane(shipped.predict(described(*naughty)), shipped, len(naughty))


def test_an_answer_does_not_depend_on_the_call(shipped: Model) -> None:
    """Alone, in company, from memory or in another process: the same text, the same answer."""
    texts = [f"{word} {number}" for word in ("TAXI", "BAKERY", "HOTEL") for number in range(60)]
    together = shipped.predict(described(*texts))
    fresh = Model.load()
    alone = pl.concat([fresh.predict(described(text)) for text in texts])
    assert_frame_equal(together, alone, check_exact=True)
    assert_frame_equal(together, shipped.predict(described(*texts)), check_exact=True)


def test_a_large_call_is_worked_on_in_blocks(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every row has its own answer; no more texts or bytes than a block has are scored at once."""
    asked = described(*(f"{name} TAXI {name}" for name in ascii_uppercase), "OLD TAXI", "A TAXI A")
    whole = Model.of(artifact).predict(asked)
    monkeypatch.setattr(predict_module, "_BLOCK", 5)
    sizes: list[int] = []
    scores = Scorer.scores

    def spied(
        scorer: Scorer, texts: pl.Series, familiarity: NDArray[np.uint8]
    ) -> NDArray[np.float64]:
        sizes.append(texts.len())
        return scores(scorer, texts, familiarity)

    monkeypatch.setattr(Scorer, "scores", spied)
    assert_frame_equal(Model.of(artifact).predict(asked), whole)
    assert sum(sizes) == 27
    assert max(sizes) == 5
    sizes.clear()
    monkeypatch.setattr(predict_module, "_BLOCK_BYTES", 18)
    assert_frame_equal(Model.of(artifact).predict(asked), whole)
    assert (sum(sizes), max(sizes)) == (27, 3)


def test_a_full_cache_changes_no_answer(artifact: Artifact) -> None:
    """Texts that push each other out of a tiny cache are classified anew, never mixed up."""
    roomy = Model.of(artifact)
    cramped = replace(roomy, _cache=Cache(bits=1))
    frame = described(*(f"{word} X{n}" for n in range(20) for word in ("TAXI", "BAKERY", "RAIL")))
    expected = roomy.predict(frame)
    for _ in range(3):
        assert_frame_equal(cramped.predict(frame), expected, check_exact=True)


def test_threads_share_a_model(artifact: Artifact) -> None:
    """Calls from many threads at once, on one small cache, give what one thread gives."""
    frames = [
        described(*(f"{('TAXI', 'RAIL')[n % 2]} X{n % 7}" for n in range(start, start + 80)))
        for start in range(40)
    ]
    expected = [Model.of(artifact).predict(frame) for frame in frames]
    shared = replace(Model.of(artifact), _cache=Cache(bits=3))
    with ThreadPoolExecutor(8) as threads:
        for found, right in zip(threads.map(shared.predict, frames), expected, strict=True):
            assert_frame_equal(found, right, check_exact=True)


def test_the_cache_finds_what_it_kept() -> None:
    """A kept key is found with its answer; another key of the same slot is not."""
    cache = Cache(bits=4)
    keys = np.array([1, 2, 3], np.uint64)
    cache.keep(keys, np.array([(1, 0.1, 7, 0), (2, 0.2, 8, 1), (3, 0.3, 9, 2)], ANSWER))
    answers, known = cache.find(np.array([3, 1, 17, 0, 4], np.uint64))
    assert known.tolist() == [True, True, False, False, False]
    assert answers[:2].tolist() == [(3, 0.3, 9, 2), (1, 0.1, 7, 0)]


def test_two_keys_of_one_place_are_both_kept() -> None:
    """The second goes elsewhere; a third that finds both places taken puts one out."""
    cache = Cache(bits=4)
    keys = np.array([1, 1 + (5 << 32), 1 + (5 << 32) + (1 << 20)], np.uint64)
    for number, key in enumerate(keys):
        cache.keep(keys[number : number + 1], np.array([(number, 0.5, key, 0)], ANSWER))
    answers, known = cache.find(keys)
    assert known.tolist() == [True, False, True]
    assert answers["code"][known].tolist() == [0, 2]
