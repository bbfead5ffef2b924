"""Phrases whose category is known without any traffic, looked up in a text by their hash.

They are written down in `gazetteer/`. Where several cover one word the longest holds: `car hire`
says more than `car`. A text that is nothing but phrases of one category is surer than one in which
they stand among other words.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay_model.features import Grams, followed, words
from assay_model.gazetteer import BRANDS, WORDS
from assay_model.text import NUMBER

KINDS: Final = (WORDS, BRANDS)
GROUPS: Final = 2 * len(KINDS)
"""The kinds of phrases among others; the kinds of phrases whose text says nothing else."""
LONGEST: Final = 3
"""A phrase has so many words at most."""


@dataclass(frozen=True)
class Lexicon:
    """Phrases of one to three words.

    Attributes:
        hashes: sorted, of the normalised phrases.
        codes: uint8, each phrase's category by its place in the taxonomy.
        kinds: uint8, each phrase's place in `KINDS`.
    """

    hashes: NDArray[np.uint64]
    codes: NDArray[np.uint8]
    kinds: NDArray[np.uint8]

    def find(self, grams: Grams) -> "Hits":
        """The phrases in some texts; none overlaps another.

        Args:
            grams: of normalised texts.
        """
        rows = np.searchsorted(grams.ends, grams.starts, side="right")
        count = grams.words.size
        free = np.ones(count, np.bool_)
        found: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        # By number of words: the hash of the phrase that begins at each word.
        hashes = [grams.words]
        for size in range(1, LONGEST):
            later = grams.words[size:]
            hashes.append(followed(hashes[-1][: later.size], later))
        for size in range(LONGEST, 0, -1):
            first = np.arange(count - size + 1)
            last = first + size - 1
            within = rows[first] == rows[last] if first.size else np.zeros(0, np.bool_)
            for offset in range(size):
                within &= free[first + offset]
            first = first[within]
            places = self._places(hashes[size - 1][first])
            first, places = _apart(first[places >= 0], places[places >= 0], size)
            for offset in range(size):
                free[first + offset] = False
            found.append((first, places))
        begun = np.concatenate([each for each, _ in found])
        places = np.concatenate([each for _, each in found])
        sizes = np.repeat(np.arange(LONGEST, 0, -1), [each.size for each, _ in found])
        codes = self.codes[places]
        whole = _whole(rows[begun], sizes, codes, rows[grams.words != _NUMBER], grams.ends.size)
        return Hits(rows[begun], begun, sizes, codes, self.kinds[places] + len(KINDS) * whole)

    def _places(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Where each hash stands, -1 for those that are unknown."""
        if not self.hashes.size:
            return np.full(hashes.size, -1)
        places = np.searchsorted(self.hashes, hashes)
        known = self.hashes[np.minimum(places, self.hashes.size - 1)] == hashes
        return np.where(known, places, -1)


@dataclass(frozen=True)
class Hits:
    """Phrases that were found, one entry each.

    Attributes:
        rows: the text.
        words: the word that it begins with, by its place among the words of all texts.
        sizes: how many words it has.
        codes: see `Lexicon`.
        groups: the place of its kind in `KINDS`, and `len(KINDS)` more where its text says nothing
            else: all of its words, beside numbers, are of phrases of one category.
    """

    rows: NDArray[np.int64]
    words: NDArray[np.int64]
    sizes: NDArray[np.int64]
    codes: NDArray[np.uint8]
    groups: NDArray[np.int64]


def lexicon(phrases: pl.DataFrame) -> Lexicon:
    """The lexicon of some phrases; of two that are equal the first counts.

    Args:
        phrases: `text` (normalised, of one to three words without a number: any number is the same
            one in normalised text), `code` (a category's place in the
            taxonomy) and `kind` (one of `KINDS`).
    """
    distinct = phrases.unique("text", keep="first", maintain_order=True)
    hashes = _hashes(distinct["text"])
    order = np.argsort(hashes)
    kinds = distinct["kind"].cast(pl.Enum(KINDS)).to_physical()
    return Lexicon(
        hashes[order],
        distinct["code"].to_numpy().astype(np.uint8)[order],
        kinds.to_numpy().astype(np.uint8)[order],
    )


def _hashes(texts: pl.Series) -> NDArray[np.uint64]:
    found = words(texts)
    first = np.flatnonzero(np.diff(found.rows, prepend=-1))
    sizes = np.diff(first, append=found.rows.size)
    hashes = found.hashes[first]
    for size in range(1, LONGEST):
        longer = sizes > size
        hashes[longer] = followed(hashes[longer], found.hashes[first[longer] + size])
    return hashes


_NUMBER: Final = words(pl.Series([NUMBER])).hashes[0]


def _whole(
    rows: NDArray[np.int64],
    sizes: NDArray[np.int64],
    codes: NDArray[np.uint8],
    spoken: NDArray[np.int64],
    texts: int,
) -> NDArray[np.bool_]:
    """Whether the text of each phrase says nothing else.

    Args:
        rows: the text of each phrase.
        sizes: its number of words.
        codes: its category.
        spoken: the text of each word that is no number.
        texts: how many there are.
    """
    covered = np.bincount(rows, sizes, texts) == np.bincount(spoken, minlength=texts)
    least, most = np.full(texts, 255), np.zeros(texts, np.int64)
    np.minimum.at(least, rows, codes)
    np.maximum.at(most, rows, codes)
    return (covered & (least == most))[rows]


def _apart(
    first: NDArray[np.int64], places: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of phrases of one size that overlap each other the one that begins earlier."""
    close = np.flatnonzero(np.diff(first) < size) + 1
    keep = np.ones(first.size, np.bool_)
    # Overlaps are rare and short: a phrase has at most two that begin before it and reach it.
    for place in close:
        reaching = range(max(0, place - size + 1), place)
        keep[place] = not any(keep[each] and first[each] + size > first[place] for each in reaching)
    return first[keep], places[keep]
