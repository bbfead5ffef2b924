import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_model.text import MAX_CHARACTERS, seen


def normalised(description: str, merchant: str | None = None) -> str:
    frame = pl.DataFrame(
        {"description": [description], "merchant": [merchant]},
        schema={"description": pl.String, "merchant": pl.String},
    )
    return seen(frame).item()


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("CORNER SHOP", "corner shop"),
        ("  Corner -- Shop*  ", "corner shop"),
        ("CORNER STORES 3241", "corner stores #"),
        ("ONLINE.EXAMPLE MB17R25S4", "online example #"),
        ("ref:00123-456 rent", "ref # # rent"),
        ("3M LTD 24SEVEN O2", "3m ltd 24seven o2"),
        ("JO'S CAFÉ", "jos cafe"),
        ("\ufb01ne \uff26ood \u2460", "fine food 1"),  # a ligature, full width, a digit in a circle
        ("МОЛОКО №5", "молоко no5"),
        ("\u0645\u062e\u0628\u0632", "\u0645\u062e\u0628\u0632"),  # bakery, right to left
        ("# 12\x00 @", "12"),
        ("\U0001f937", ""),
        ("   ", ""),
        ("123456", "#"),
    ],
)
def test_text_is_reduced_to_words(description: str, expected: str) -> None:
    """Case, accents, punctuation and reference numbers carry no meaning; letters do."""
    assert normalised(description) == expected


@given(st.text(max_size=1024).filter(lambda text: not any("\ud800" <= c <= "\udfff" for c in text)))
def test_normalised_text_is_words_by_single_spaces(description: str) -> None:
    """Whatever came in, at most 256 characters come out, without edges or double spaces."""
    text = normalised(description)
    assert len(text) <= MAX_CHARACTERS
    assert text.split(" ") == text.split() or text == ""
    assert "\x00" not in text


def test_a_merchant_follows_the_description_once() -> None:
    """A merchant that the description already names adds nothing; another one is seen, too."""
    assert normalised("CARD 1234", "Corner Shop") == "card # corner shop"
    assert normalised("CORNER SHOP 1234", "Corner Shop") == "corner shop #"
    assert normalised("CORNER SHOP", None) == "corner shop"
    assert normalised("***", "Corner Shop") == "corner shop"


def test_a_frame_without_a_merchant_column_is_seen_alike() -> None:
    """The merchant column may be missing or hold nothing but nulls."""
    bare = pl.DataFrame({"description": ["CORNER SHOP 12345"]})
    nulls = bare.with_columns(merchant=pl.lit(None))
    assert seen(bare).to_list() == seen(nulls).to_list() == ["corner shop #"]
