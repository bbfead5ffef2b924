"""Explanations add up, and name what a person would name."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_model.artifact import Artifact
from assay_model.explain import MOST, PARTS
from assay_model.predict import Model

ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=1024)
WORDS = st.lists(
    st.sampled_from("TAXI BAKERY UBER 4711 RENT DE Ä PAYPAL *X".split()), min_size=1, max_size=30
).map(" ".join)


def described(*texts: str) -> pl.DataFrame:
    return pl.DataFrame({"description": texts}, schema={"description": pl.String})


def explained(model: Model, *texts: str) -> list[list[dict[str, object]]]:
    """The explanations of what the model says of these."""
    frame = described(*texts)
    return model.explain(frame, model.predict(frame)["category"]).to_list()


@given(st.lists(ANY_TEXT | WORDS, min_size=1, max_size=5), st.data())
def test_the_parts_sum_to_the_margin(shipped: Model, texts: list[str], data: st.DataObject) -> None:
    """Of whichever category is asked for, whatever the text."""
    names = shipped.taxonomy.categories
    chosen = np.array(
        data.draw(
            st.lists(st.integers(0, len(names) - 1), min_size=len(texts), max_size=len(texts))
        )
    )
    fields = {
        "mcc": st.sampled_from([None, "5812", "0000"]),
        "side": st.sampled_from(["debit", "credit"]),
        "operation_type": st.sampled_from(["transfer", "payment", None]),
    }
    frame = described(*texts).with_columns(
        pl.Series(name, [data.draw(values) for _ in texts], pl.String)
        for name, values in fields.items()
        if data.draw(st.booleans())
    )
    found = shipped.explain(frame, pl.Series([names[each] for each in chosen]))
    said = shipped.scores(frame)
    expected = [
        row[each] - np.delete(row, each).mean() for row, each in zip(said, chosen, strict=True)
    ]
    assert found.dtype == PARTS
    sums = [sum(part["weight"] for part in parts) for parts in found.to_list()]
    assert sums == pytest.approx(expected, abs=1e-3)


@given(st.lists(WORDS, min_size=1, max_size=4))
def test_the_weightiest_come_first_and_the_rest_last(shipped: Model, texts: list[str]) -> None:
    """At most so many parts, none twice."""
    for parts in explained(shipped, *texts):
        assert len(parts) <= MOST
        kinds = [part["kind"] for part in parts]
        assert "rest" not in kinds[:-1]
        weights = [abs(float(str(p["weight"]))) for p in parts if p["kind"] != "rest"]
        assert weights == sorted(weights, reverse=True)
        assert len({(part["part"], part["kind"]) for part in parts}) == len(parts)


def test_a_person_reads_words(artifact: Artifact) -> None:
    """What carries the decision is the word that says it, and a number is a number."""
    (parts,) = explained(Model.of(artifact), "NORTH TAXI 1234")
    words = [part for part in parts if part["kind"] == "word"]
    assert (words[0]["part"], str(words[0]["weight"])[0] != "-") == ("taxi", True)
    assert {part["part"] for part in words} == {"north", "taxi", "#"}
    assert {part["part"] for part in parts if part["kind"] == "pair"} <= {"north taxi", "taxi #"}
    assert [part["part"] for part in parts if part["kind"] == "prior"] == [""]


def test_an_explanation_does_not_depend_on_its_company(shipped: Model) -> None:
    """Alone or among a thousand, in whichever place."""
    texts = [f"{word} {number}X" for word in ("TAXI", "BAKERY", "") for number in range(80)]
    together = explained(shipped, *texts)
    for place in (0, 99, 100, 239):
        (alone,) = explained(shipped, texts[place])
        assert [(p["part"], p["kind"]) for p in alone] == [
            (p["part"], p["kind"]) for p in together[place]
        ]
    assert shipped.explain(described(), pl.Series(dtype=pl.String)).to_list() == []


def test_a_word_that_comes_twice_is_one_part(shipped: Model) -> None:
    """A person does not count them."""
    (parts,) = explained(shipped, "TAXI TAXI TAXI")
    assert sum(part["kind"] == "word" for part in parts) == 1


def test_a_text_of_which_nothing_is_left_has_its_prior(shipped: Model) -> None:
    """Punctuation says nothing."""
    (parts,) = explained(shipped, "***")
    assert [part["kind"] for part in parts] == ["prior"]


def test_the_merchant_is_part_of_the_text(artifact: Artifact) -> None:
    """Its words carry weight like those of the description."""
    model = Model.of(artifact)
    frame = described("CARD 123456").with_columns(merchant=pl.lit("Village Bakery"))
    (parts,) = model.explain(frame, pl.Series(["Food"])).to_list()
    assert "bakery" in [part["part"] for part in parts[:3]]


def test_phrases_and_fields_are_named(artifact: Artifact) -> None:
    """What the lexicon knows of a stranger, and what else the record says."""
    frame = described("ZEPHYR CAR HIRE").with_columns(side=pl.lit("debit"), mcc=pl.lit("4121"))
    (parts,) = Model.of(artifact).explain(frame, pl.Series(["Transportation"])).to_list()
    named = {(part["kind"], part["part"]): part["weight"] for part in parts}
    assert named["phrase", "car hire"] > 0
    assert named["field", "mcc=4121"] == 6
    assert named["field", "side=debit"] == pytest.approx(1)
