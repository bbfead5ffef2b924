"""From a normalised text to a score for each category.

A descriptor that was learnt is answered by a layer of its own. Any other is read three ways at
once: as the n-grams of the traffic, as the n-grams of what is known without traffic, which two
are one layer, and as phrases of the lexicon.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from assay_model.features import counted, fingerprints, located, words
from assay_model.lexicon import GROUPS, Hits, Lexicon
from assay_model.linear import Linear, dense, logits

KNOWN, RELATED, NEW, STRANGE = range(4)
"""How well a text is known: it was learnt; another of its merchant was; neither was; nor is any of
its words known from anywhere."""

_BLOCK: Final = 2048
"""Texts at a time: what is worked on stays in the processor's cache, and memory is bounded."""
_MERCHANT_LETTERS: Final = 8
_WORD_BYTES: Final = 3
"""Of a word that counts as known at least: shorter ones come up by chance."""
_SILENT: Final = """
    the and for von und der die das den dem les des aux une los las del una con per het een van voor
    com www org net gov http https html ltd inc llc llp plc gmbh sarl sas srl
"""
"""Words that say nothing of what a merchant is: they do not count either."""


@dataclass(frozen=True)
class Weights:
    """All numbers that scores follow from.

    Attributes:
        descriptors: uint64, sorted: the fingerprints of the texts that were learnt.
        merchants: uint64, sorted: the fingerprints of their `merchant`.
        words: uint64, sorted: the hashes of the words of these texts and of what is known without
            traffic, see `vocabulary`, and of all phrases of one word.
        familiar: for texts that are `KNOWN`.
        general: for all others.
        lexicon: phrases, for these as well.
        phrases: float32, by group and category of a phrase what it adds to each category.
        temperatures: float64, what the scores of a text are divided by: one for each of `KNOWN`,
            `RELATED`, `NEW` and `STRANGE`.
    """

    descriptors: NDArray[np.uint64]
    merchants: NDArray[np.uint64]
    words: NDArray[np.uint64]
    familiar: Linear
    general: Linear
    lexicon: Lexicon
    phrases: NDArray[np.float32]
    temperatures: NDArray[np.float64]


@dataclass(frozen=True)
class Scorer:
    """Weights, made ready to be used; safe to share between threads."""

    weights: Weights
    familiar: NDArray[np.float32] = field(repr=False)
    general: NDArray[np.float32] = field(repr=False)

    @staticmethod
    def of(weights: Weights) -> "Scorer":
        """The tables of the weights' layers, at full width."""
        return Scorer(weights, dense(weights.familiar), dense(weights.general))

    def familiarity(
        self, texts: pl.Series, fingerprint: NDArray[np.uint64] | None = None
    ) -> NDArray[np.uint8]:
        """`KNOWN`, `RELATED`, `NEW` or `STRANGE`, for each text.

        Args:
            texts: normalised.
            fingerprint: of each, where it is at hand.
        """
        prints = fingerprints(texts) if fingerprint is None else fingerprint
        found = np.full(prints.size, STRANGE, np.uint8)
        known = _among(prints, self.weights.descriptors)
        found[known] = KNOWN
        others = np.flatnonzero(~known)
        if others.size:
            rest = texts.gather(others)
            spoken = words(rest)
            understood = _among(spoken.hashes, self.weights.words)
            found[others[spoken.rows[understood]]] = NEW
            whose = rest.to_frame("text").select(merchant(pl.col("text"))).to_series()
            related = _among(fingerprints(whose), self.weights.merchants)
            found[others[related & (whose != "").to_numpy()]] = RELATED
        return found

    def scores(self, texts: pl.Series, familiarity: NDArray[np.uint8]) -> NDArray[np.float64]:
        """One row per text, one column per category; always finite.

        Their softmax is the probability of each category.

        Args:
            texts: normalised.
            familiarity: of each.
        """
        found = np.empty((texts.len(), self.weights.familiar.scale.size))
        for kinship, score in (
            (familiarity == KNOWN, self._familiar),
            (familiarity != KNOWN, self._general),
        ):
            rows = np.flatnonzero(kinship)
            for start in range(0, rows.size, _BLOCK):
                block = rows[start : start + _BLOCK]
                found[block] = score(texts.gather(block))
        return found / self.weights.temperatures[familiarity][:, None]

    def _familiar(self, texts: pl.Series) -> NDArray[np.float64]:
        layer = self.weights.familiar
        counts = counted(located(texts, layer.bits), layer.bits)
        return logits(self.familiar, layer.intercept, counts)

    def _general(self, texts: pl.Series) -> NDArray[np.float64]:
        layer = self.weights.general
        grams = located(texts, layer.bits)
        phrases = counted_phrases(
            self.weights.lexicon.find(grams), self.weights.phrases.shape[1], texts.len()
        )
        added = phrases @ self.weights.phrases.reshape(phrases.shape[1], -1)
        return logits(self.general, layer.intercept, counted(grams, layer.bits)) + added


def merchant(text: pl.Expr) -> pl.Expr:
    """Who a normalised text stands for, roughly: its first eight letters; empty without any."""
    return text.str.replace_all(r"\P{L}", "").str.head(_MERCHANT_LETTERS)


def vocabulary(texts: pl.Series) -> NDArray[np.uint64]:
    """The words that count of these normalised texts, sorted."""
    spoken = words(texts)
    found = np.unique(spoken.hashes[spoken.sizes >= _WORD_BYTES])
    return np.setdiff1d(found, words(pl.Series(_SILENT.split())).hashes)


def strength(sizes: NDArray[np.int64]) -> NDArray[np.float32]:
    """How much a phrase counts, by its number of words."""
    return np.sqrt(sizes).astype(np.float32)


def counted_phrases(
    hits: Hits, categories: int, texts: int
) -> sparse.csr_array[np.float32, tuple[int, int]]:
    """One row per text, one column per group and category of phrase: how much it counts there.

    Args:
        hits: found in the texts.
        categories: how many there are.
        texts: how many there are.
    """
    order = np.argsort(hits.rows, kind="stable")
    columns = (hits.groups[order] * categories + hits.codes[order]).astype(np.int32)
    pointers = np.searchsorted(hits.rows[order], np.arange(texts + 1)).astype(np.int32)
    values = strength(hits.sizes[order])
    return sparse.csr_array((values, columns, pointers), (texts, GROUPS * categories), np.float32)


def _among(values: NDArray[np.uint64], known: NDArray[np.uint64]) -> NDArray[np.bool_]:
    if not known.size:
        return np.zeros(values.size, np.bool_)
    return known[np.minimum(np.searchsorted(known, values), known.size - 1)] == values
