"""What people said, in answers and in training."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from assay.domain.errors import Fatal
from assay.domain.taxonomy import Taxonomy
from assay.wire.corrections import CORRECTIONS
from assay_model.artifact import Artifact
from assay_model.corrections import Corrected, corrected
from assay_model.knowledge import Knowledge
from assay_model.predict import Model
from assay_model.train import build, examples, fit, mix, taught, train

_AT = datetime(2026, 1, 1, tzinfo=UTC)


def said(*rows: tuple[str, str | None, str]) -> pl.DataFrame:
    """Corrections, each made a day after the one before."""
    return pl.DataFrame(
        [(*row, _AT + timedelta(days=day)) for day, row in enumerate(rows)],
        schema=CORRECTIONS,
        orient="row",
    )


def described(*texts: str, merchant: str | None = None) -> pl.DataFrame:
    return pl.DataFrame({"description": texts}).with_columns(
        merchant=pl.lit(merchant, dtype=pl.String)
    )


def test_a_corrected_descriptor_is_answered_as_people_say(artifact: Artifact) -> None:
    """However it is written; with certainty and without review. All others are as they were."""
    model = Model.of(artifact)
    asked = described("CITY TAXI 1234", "city-taxi 99999", "CITY BAKERY", "zzz")
    before = model.predict(asked)
    after = corrected(model, said(("City Taxi 555", None, "Home"))).predict(asked)
    assert after.schema == before.schema
    assert after["category"].to_list() == ["Home", "Home", *before["category"][2:]]
    assert after["confidence"].to_list() == [1.0, 1.0, *before["confidence"][2:]]
    assert after["needs_review"].to_list() == [False, False, *before["needs_review"][2:]]
    assert after["needs_review"].any()
    assert_frame_equal(after[2:], before[2:])
    assert after["feature_hash"].equals(before["feature_hash"])


def test_a_descriptor_without_a_word_is_not_corrected(
    artifact: Artifact, labels: pl.DataFrame
) -> None:
    """Neither in answers nor in training, or all others without content would be with it."""
    model = Model.of(artifact)
    wordless = said(("\N{MONEY BAG}", None, "Home"), ("12345", "7", "Home"), ("A1B2C3", "", "Home"))
    assert corrected(model, wordless) is model
    both = corrected(model, pl.concat([wordless, said(("Ä 12345", None, "Home"))]))
    asked = described("", "???", "99999 7", "54321", "a 777")
    assert both.predict(asked)["confidence"].to_list()[4] == 1
    assert_frame_equal(both.predict(asked)[:4], model.predict(asked)[:4])
    learnt = examples(labels)
    assert_frame_equal(taught(learnt, wordless), learnt)


def test_the_merchant_belongs_to_the_descriptor(artifact: Artifact) -> None:
    """A correction of one merchant is none of another under the same description."""
    model = corrected(Model.of(artifact), said(("CARD 123456", "Village Bakery", "Home")))
    asked = [described("CARD 654321", merchant=each) for each in ("village bakery", "Other Bakery")]
    assert [model.predict(each)["category"].item() for each in asked] == ["Home", "Food"]


def test_the_latest_correction_of_a_descriptor_counts(artifact: Artifact) -> None:
    """Whatever their order in the frame, and however each is written."""
    rows = said(("CITY TAXI 1234", None, "Home"), ("City taxi 99999", None, "Food"))
    for each in (rows, rows.reverse()):
        answered = corrected(Model.of(artifact), each).predict(described("CITY TAXI 777"))
        assert answered["category"].to_list() == ["Food"]


def test_without_corrections_it_is_the_model_itself(artifact: Artifact) -> None:
    """Which costs nothing, and has the model's own version."""
    model = Model.of(artifact)
    assert corrected(model, said()) is model


def test_the_version_follows_what_is_answered(artifact: Artifact) -> None:
    """Another answer, another version; the same answers said anew, the same version."""
    model = Model.of(artifact)

    def version(*rows: tuple[str, str | None, str]) -> str:
        return corrected(model, said(*rows)).version

    one = version(("CITY TAXI 1234", None, "Home"))
    assert one.startswith(f"{model.version}+")
    assert len(one) == len(model.version) + 9
    others = {
        version(("CITY TAXI 1234", None, "Food")),
        version(("CITY TAXI", None, "Home")),
        version(("CITY TAXI 1234", None, "Home"), ("OAK", None, "Food")),
    }
    assert len(others | {one}) == 4
    again = version(("CITY TAXI 1234", None, "Food"), ("city taxi 999", None, "Home"))
    assert again == one


def test_a_category_that_the_model_lacks_is_refused_by_name(artifact: Artifact) -> None:
    """All of them at once, and nothing of what is corrected."""
    rows = said(("SECRET", None, "Rockets"), ("OAK", None, "Home"), ("ELM", None, "Boats"))
    with pytest.raises(Fatal, match=r"taxonomy small 1 lacks: Boats, Rockets$"):
        corrected(Model.of(artifact), rows)


def test_no_transactions_are_answered_with_none(artifact: Artifact) -> None:
    """Shaped as the model's own answers."""
    model = Model.of(artifact)
    answered = corrected(model, said(("CITY TAXI", None, "Home"))).predict(described())
    assert_frame_equal(answered, model.predict(described()))


def test_what_people_say_beats_older_labels(
    labels: pl.DataFrame, small: Taxonomy, knowledge: Knowledge
) -> None:
    """A model that learnt a correction answers with it, against any number of equal texts."""
    known = pl.DataFrame({"description": ["NIGHT TAXI"] * 9, "category": ["Food"] * 9})
    learnt = examples(pl.concat([known, *[labels] * 9]))
    rows = said(("CITY TAXI 1234", None, "Food"), ("night taxi", None, "Home"))
    taught_one = taught(learnt, rows)
    found = dict(
        taught_one.filter(pl.col("text").is_in(["night taxi", "city taxi #"]))
        .select("text", "category")
        .rows()
    )
    assert found == {"night taxi": "Home", "city taxi #": "Food"}
    assert taught_one.filter(pl.col("text") == "night taxi")["weight"].to_list() == [3.0]
    assert taught_one["text"].is_sorted()
    asked = described("NIGHT TAXI", "CITY TAXI 777", "OAK FURNITURE")
    mixed = mix(learnt, knowledge, small)
    answers = [
        Model.of(build(fit(each, mixed, knowledge, small), {}, small, 0.6)).predict(asked)[
            "category"
        ]
        for each in (learnt, taught_one)
    ]
    assert answers[0].to_list() == ["Food", "Transportation", "Home"]
    assert answers[1].to_list() == ["Home", "Food", "Home"]


def test_nothing_said_changes_no_example(labels: pl.DataFrame) -> None:
    """So that a training without corrections gives the bytes that it gave."""
    learnt = examples(labels)
    assert_frame_equal(taught(learnt, said()), learnt)


def test_a_corrected_model_can_be_used_as_one(artifact: Artifact) -> None:
    """It has the name, the taxonomy and the reference of the model that it corrects."""
    artifact = replace(artifact, notes={"reference": {"rows": 1}})
    model = corrected(Model.of(artifact), said(("CITY TAXI", None, "Home")))
    assert isinstance(model, Corrected)
    assert (model.name, model.taxonomy) == (artifact.name, artifact.taxonomy)
    assert model.reference == {"rows": 1}


def test_what_people_said_is_explained_by_that_alone(artifact: Artifact) -> None:
    """For the category that they said; of any other, and of all else, the model explains."""
    model = Model.of(artifact)
    both = corrected(model, said(("CITY TAXI 1234", None, "Home")))
    asked = described("City-Taxi 99999", "CITY TAXI 1234", "OAK FURNITURE", "")
    categories = pl.Series(["Home", "Food", "Home", "Home"])
    explained, by_model = both.explain(asked, categories), model.explain(asked, categories)
    assert explained.dtype == by_model.dtype
    assert explained[0].to_list() == [{"part": "city taxi #", "kind": "correction", "weight": 1.0}]
    assert explained[1:].to_list() == by_model[1:].to_list()
    assert both.explain(asked[2:], categories[2:]).to_list() == by_model[2:].to_list()
    assert both.explain(asked[:0], categories[:0]).is_empty()


def test_a_training_learns_from_corrections(write_data: Callable[..., Path]) -> None:
    """The model says how many, and answers with them; a foreign category is refused by name."""
    rows = said(("CITY TAXI 1234", None, "Healthcare"))
    folder = write_data()
    learnt = train(folder, lambda _: None, rows)
    assert learnt.notes["fitted"]["corrections"] == 1
    asked = described("CITY TAXI 999", "CORNER BAKERY 2002")
    assert Model.of(learnt).predict(asked)["category"].to_list() == ["Healthcare", "Food"]
    with pytest.raises(Fatal, match="lacks: Rockets"):
        train(folder, lambda _: None, said(("CITY TAXI", None, "Rockets")))
