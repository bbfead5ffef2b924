import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assay_model.features import located
from assay_model.lexicon import LONGEST, Hits, Lexicon, lexicon
from assay_model.text import NUMBER

PHRASES = {"car": 0, "car hire": 1, "hire": 2, "hire car now": 3, "now": 4, "é 語": 5, "語": 6}
TEXTS = st.lists(
    st.lists(st.sampled_from("car hire now é 語 # cars".split()), max_size=7).map(" ".join),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def phrases() -> Lexicon:
    """Phrases that overlap in every way; names have odd numbers."""
    return lexicon(
        pl.DataFrame(
            [(text, code, "brands" if code % 2 else "words") for text, code in PHRASES.items()],
            schema=["text", "code", "kind"],
            orient="row",
        )
    )


def found(phrases: Lexicon, *texts: str) -> Hits:
    return phrases.find(located(pl.Series(texts, dtype=pl.String), bits=4))


def spelled(text: str) -> list[tuple[int, int, int]]:
    """Code, first word and size of each phrase in a text, by the definition."""
    words = text.split()
    taken: set[int] = set()
    hits: list[tuple[int, int, int]] = []
    for size in range(LONGEST, 0, -1):
        for first in range(len(words) - size + 1):
            places = set(range(first, first + size))
            code = PHRASES.get(" ".join(words[first : first + size]))
            if code is not None and not places & taken:
                hits.append((code, first, size))
                taken |= places
    return hits


@given(texts=TEXTS)
def test_the_longest_phrases_are_found(phrases: Lexicon, texts: list[str]) -> None:
    """None overlaps another, none reaches into the next text; kinds and sizes are the phrase's.

    They are of another group where their text says nothing else.
    """
    hits = found(phrases, *texts)
    begun = 0
    expected: set[tuple[int, int, int, int, int]] = set()
    for row, text in enumerate(texts):
        inside, words = spelled(text), text.split()
        covered = {first + offset for _, first, size in inside for offset in range(size)}
        numbers = {place for place, word in enumerate(words) if word == NUMBER}
        one = len({code for code, _, _ in inside}) == 1
        whole = 2 if one and covered | numbers == set(range(len(words))) else 0
        expected |= {(row, c, begun + first, size, c % 2 + whole) for c, first, size in inside}
        begun += len(words)
    columns = (hits.rows, hits.codes, hits.words, hits.sizes, hits.groups)
    assert set(zip(*(each.tolist() for each in columns), strict=True)) == expected
    assert hits.rows.size == len(expected)


def test_of_equal_phrases_the_first_counts() -> None:
    """In the order of the frame."""
    twice = pl.DataFrame({"text": ["inn", "inn"], "code": [3, 5], "kind": ["brands", "words"]})
    assert found(lexicon(twice), "old inn").codes.tolist() == [3]


def test_an_empty_lexicon_finds_nothing() -> None:
    """Nor does an empty text hold anything."""
    none = pl.DataFrame(schema={"text": pl.String, "code": pl.Int64, "kind": pl.String})
    assert found(lexicon(none), "car", "").rows.size == 0
