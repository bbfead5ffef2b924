"""The hashes are part of every artifact's meaning: they may never change."""

import itertools
from collections import Counter

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from assay_model.features import CHARACTERS, fingerprints, ngrams, words

BITS = 10
WORD = 1 << 64
TEXTS = st.lists(st.text("ab #é語", max_size=12).map(lambda text: " ".join(text.split())))


def mixed(value: int) -> int:
    """SplitMix64, written with Python's integers."""
    value = (value + 0x9E3779B97F4A7C15) % WORD
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % WORD
    value = (value ^ value >> 27) * 0x94D049BB133111EB % WORD
    return value ^ value >> 31


def hashed(text: str) -> int:
    return mixed(sum(mixed(place << 8 | byte) for place, byte in enumerate(text.encode())) % WORD)


def spelled(text: str) -> Counter[int]:
    """The columns of one text, by the definition."""
    padded = f" {text} ".encode()
    grams = [
        mixed(int.from_bytes(padded[start : start + size], "little") | size << 56)
        for size in CHARACTERS
        for start in range(len(padded) - size + 1)
    ]
    words = [hashed(word) for word in text.split()]
    grams += [mixed(word) for word in words]
    pairs = itertools.pairwise(words)
    grams += [mixed((one * 0xBF58476D1CE4E5B9 + two) % WORD) for one, two in pairs]
    return Counter(gram >> 64 - BITS for gram in grams)


@given(TEXTS)
def test_ngrams_follow_their_definition(texts: list[str]) -> None:
    """A text's row is that of the plain definition, whatever its neighbours are."""
    rows = ngrams(pl.Series(texts, dtype=pl.String), BITS)
    assert rows.shape == (len(texts), 1 << BITS)
    bounds = itertools.pairwise(rows.indptr.tolist())
    found: list[Counter[int]] = [
        Counter(rows.indices[start:stop].tolist()) for start, stop in bounds
    ]
    assert found == [spelled(text) for text in texts]
    assert set(rows.data.tolist()) <= {1.0}


@given(TEXTS)
def test_fingerprints_follow_their_definition(texts: list[str]) -> None:
    """A text's fingerprint is that of the plain definition, whatever its neighbours are."""
    found = fingerprints(pl.Series(texts, dtype=pl.String)).tolist()
    assert found == [hashed(text) for text in texts]


def test_hashes_are_pinned() -> None:
    """The same on every platform and in every version; a change makes every artifact invalid."""
    texts = pl.Series(["corner shop #", "café 語", ""])
    assert [f"{number:016x}" for number in fingerprints(texts)] == [
        "3a69c8d600f8804b",
        "fcf60f9205b1c37c",
        "e220a8397b1dcdaf",
    ]
    rows = ngrams(pl.Series(["\u00e9 b"]), 17)
    assert rows.indices.tolist() == [
        18814,
        89027,
        103194,
        114763,
        76050,
        2156,
        47803,
        83451,
        114699,
        101258,
        3709,
        74860,
        128239,
        87461,
        46041,
        118207,
        6053,
    ]


@given(TEXTS)
def test_words_follow_their_definition(texts: list[str]) -> None:
    """Each with the text that it stands in, its hash and its bytes."""
    found = words(pl.Series(texts, dtype=pl.String))
    expected = [
        (row, hashed(word), len(word.encode()))
        for row, text in enumerate(texts)
        for word in text.split()
    ]
    columns = (found.rows.tolist(), found.hashes.tolist(), found.sizes.tolist())
    assert list(zip(*columns, strict=True)) == expected
