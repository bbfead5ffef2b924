"""Hashed n-grams, computed on the joined bytes of all texts at once.

Nothing here depends on the platform or on a library's own hash, so that an artifact means the
same for ever. Hashing also keeps every merchant's and person's name out of it.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

CHARACTERS: Final = (2, 3, 4, 5)
"""The lengths of the character n-grams, in bytes of UTF-8."""

_SPACE: Final = 0x20
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)


def fingerprints(texts: pl.Series) -> NDArray[np.uint64]:
    """A stable 64-bit hash of each text's UTF-8 bytes; not meant to resist an adversary.

    Args:
        texts: String, no nulls.
    """
    return _hash(_bytes(texts, ""), _lengths(texts))


@dataclass(frozen=True)
class Grams:
    """The n-grams of some texts, by the byte that they begin at.

    The bytes of all texts stand one after the other, each text with a space before it.

    Attributes:
        columns: int32, one row per byte; the columns that its n-grams are hashed into: characters
            by `CHARACTERS`, the word that begins here, the pair that ends with this word.
        present: which of these there are.
        ends: where each text ends.
        space: which bytes are spaces.
        starts: where each word begins.
        words: uint64, the hash of each word.
    """

    columns: NDArray[np.int32]
    present: NDArray[np.bool_]
    ends: NDArray[np.int64]
    space: NDArray[np.bool_]
    starts: NDArray[np.int64]
    words: NDArray[np.uint64]


def ngrams(texts: pl.Series, bits: int) -> sparse.csr_array[np.float32, tuple[int, int]]:
    """The n-grams of each text, see `located`, as one row per text and `2**bits` columns.

    Each occurrence is an entry of 1.0, so a row may name a column twice.
    """
    return counted(located(texts, bits), bits)


def counted(grams: Grams, bits: int) -> sparse.csr_array[np.float32, tuple[int, int]]:
    """The same of n-grams that have been located, with the same bits."""
    until = np.concatenate([[0], np.cumsum(grams.present.sum(axis=1))])
    indices = grams.columns[grams.present]
    pointers = np.concatenate([[0], until[grams.ends]]).astype(np.int32)
    ones: NDArray[np.float32] = np.ones(indices.size, np.float32)
    return sparse.csr_array((ones, indices, pointers), (grams.ends.size, 1 << bits), np.float32)


def located(texts: pl.Series, bits: int) -> Grams:
    """The n-grams of each text, hashed into `2**bits` columns, with the place of each.

    Words, pairs of neighbouring words, and characters by `CHARACTERS`, with a space before and
    after the text.

    Args:
        texts: normalised as `assay_model.text` does: words separated by single spaces.
        bits: 1 to 31.
    """
    # Neighbours share the space between them: a text owns the space before it and its own bytes.
    joined = np.concatenate([_bytes(texts, " ", before=" "), np.full(8, _SPACE, np.uint8)])
    owned = _lengths(texts) + 1
    ends = np.cumsum(owned)
    size = int(owned.sum())
    left = np.repeat(ends + 1, owned) - np.arange(size)
    windows = np.ndarray((size,), "<u8", joined.tobytes(), strides=(1,)).astype(np.uint64)

    columns = np.zeros((size, len(CHARACTERS) + 2), np.int32)
    present = np.zeros(columns.shape, np.bool_)
    for place, length in enumerate(CHARACTERS):
        gram = windows & np.uint64((1 << 8 * length) - 1) | np.uint64(length << 56)
        columns[:, place] = _column(mix(gram), bits)
        present[:, place] = left >= length

    data = joined[:size]
    space = data == _SPACE
    starts, stops = _words(data)
    hashes = _hash(data[~space], stops - starts)
    pairs = followed(np.roll(hashes, 1), hashes)
    columns[starts, -2] = _column(mix(hashes), bits)
    present[starts, -2] = True
    columns[starts, -1] = _column(pairs, bits)
    # The first word of a text follows the space that the text begins with.
    present[starts, -1] = ~np.isin(starts - 1, ends - owned)

    return Grams(columns, present, ends, space, starts, hashes)


def followed(first: NDArray[np.uint64], second: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The hash of each word, or words, with the word that follows."""
    return mix(first * _MIX_1 + second)


@dataclass(frozen=True)
class Words:
    """The words of some texts, one after the other.

    Attributes:
        rows: the text of each.
        hashes: uint64; equal words have equal ones.
        sizes: bytes of each.
    """

    rows: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    sizes: NDArray[np.int64]


def words(texts: pl.Series) -> Words:
    """The words of each text.

    Args:
        texts: normalised as `assay_model.text` does: words separated by single spaces.
    """
    data = _bytes(texts, " ", before=" ")
    starts, stops = _words(data)
    ends = np.cumsum(_lengths(texts) + 1)
    rows = np.searchsorted(ends, starts, side="right")
    return Words(rows, _hash(data[data != _SPACE], stops - starts), stops - starts)


def _words(data: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each word begins and ends; the first byte is a space."""
    letter = data != _SPACE
    edges = np.flatnonzero(np.diff(letter, append=np.False_)) + 1
    return edges[::2], edges[1::2]


def _bytes(texts: pl.Series, separator: str, before: str = "") -> NDArray[np.uint8]:
    return np.frombuffer((before + texts.str.join(separator).item()).encode(), np.uint8)


def _lengths(texts: pl.Series) -> NDArray[np.int64]:
    return texts.str.len_bytes().to_numpy().astype(np.int64)


def _hash(data: NDArray[np.uint8], lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A 64-bit hash of each of the adjacent segments of `data` that have these lengths.

    The sum, modulo 2**64, of a random-looking number for each byte at its place.
    """
    ends = np.cumsum(lengths)
    place = np.arange(data.size) - np.repeat(ends - lengths, lengths)
    numbers = mix((place << 8 | data).astype(np.uint64))
    until = np.concatenate([np.zeros(1, np.uint64), np.cumsum(numbers, dtype=np.uint64)])
    return mix(until[ends] - until[ends - lengths])


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of SplitMix64 (Steele, Lea, Flood 2014): a bijection that scatters 64-bit words."""
    mixed = values + _GOLDEN
    mixed ^= mixed >> np.uint64(30)
    mixed *= _MIX_1
    mixed ^= mixed >> np.uint64(27)
    mixed *= _MIX_2
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _column(hashes: NDArray[np.uint64], bits: int) -> NDArray[np.int32]:
    return (hashes >> np.uint64(64 - bits)).astype(np.int32)
