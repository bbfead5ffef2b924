"""What is known without traffic, made ready for training: a layer of n-grams and a lexicon."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from assay.domain.taxonomy import Taxonomy
from assay_model import corpus
from assay_model.evaluate import codes
from assay_model.features import ngrams, words
from assay_model.gazetteer import BRANDS
from assay_model.lexicon import Lexicon, lexicon
from assay_model.regression import multinomial
from assay_model.scores import vocabulary
from assay_model.text import NUMBER, seen

BITS: Final = 17


class Effort(NamedTuple):
    """How far a fit may go; see `assay_model.regression.multinomial`."""

    penalty: float
    iterations: int


_EFFORT: Final = Effort(penalty=0.1, iterations=120)
_VARIANT: Final = 0.5  # what a phrase without spaces, or the beginning of one, weighs beside it
_CUT: Final = 10  # letters of such a beginning
_JOINED: Final = 6  # letters that a phrase of several words has at least to be one word as well


@dataclass(frozen=True)
class Knowledge:
    """What training begins with.

    Attributes:
        importance: float32, of each of the n-grams: the inverse document frequency among the texts.
        weights: float32, one row per n-gram and one column per category.
        intercept: float32, one per category.
        lexicon: the phrases.
        words: uint64, sorted: of all texts, see `assay_model.scores.vocabulary`, and all phrases of
            one word.
    """

    importance: NDArray[np.float32]
    weights: NDArray[np.float32]
    intercept: NDArray[np.float32]
    lexicon: Lexicon
    words: NDArray[np.uint64]

    @property
    def bits(self) -> int:
        """The n-grams are hashed into `2**bits` columns."""
        return self.importance.size.bit_length() - 1


def fitted(
    examples: pl.DataFrame, importance: NDArray[np.float32], taxonomy: Taxonomy, effort: Effort
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What examples teach a layer: its weights by n-gram, before their importance; its intercept.

    Args:
        examples: `text` (normalised), `category`, `weight`.
        importance: of each n-gram.
        taxonomy: has all of their categories.
        effort: of the fit.
    """
    return multinomial(
        vectors(examples["text"], importance),
        codes(examples["category"], taxonomy),
        examples["weight"].to_numpy().astype(np.float32),
        len(taxonomy.categories),
        penalty=effort.penalty,
        iterations=effort.iterations,
    )


def vectors(
    texts: pl.Series, importance: NDArray[np.float32]
) -> sparse.csr_array[np.float32, tuple[int, int]]:
    """The n-grams of normalised texts by their importance, each row of length 1."""
    counts = ngrams(texts, importance.size.bit_length() - 1)
    lengths = np.sqrt(counts @ np.square(importance))
    counts.data *= importance[counts.indices]
    counts.data /= np.repeat(lengths, np.diff(counts.indptr))
    return counts


def known(folder: Path, taxonomy: Taxonomy) -> Knowledge:
    """What the lessons and the gazetteer teach; takes about two minutes.

    Args:
        folder: see `assay_model.corpus`.
        taxonomy: has all categories of the folder.

    Raises:
        Unreadable: a file is missing or not as expected.
    """
    return taught(corpus.lessons(folder), corpus.phrases(folder), taxonomy)


def taught(
    lessons: pl.DataFrame, phrases: pl.DataFrame, taxonomy: Taxonomy, bits: int = BITS
) -> Knowledge:
    """What lessons and phrases teach.

    Descriptors are cut, and domains have no spaces: of each phrase the n-gram layer also learns the
    beginning and the letters without the spaces.

    Args:
        lessons: see `assay_model.corpus.lessons`.
        phrases: see `assay_model.corpus.phrases`.
        taxonomy: has all of their categories.
        bits: n-grams are hashed into `2**bits` columns.
    """
    text, weight = pl.col("text"), pl.col("weight")
    told = lessons.select(seen(lessons).alias("text"), "category", "weight")
    named = phrases.select("text", "category", "weight")
    joined = named.with_columns(text.str.replace_all(" ", ""), weight * _VARIANT)
    whole = pl.concat([told, named])
    examples = (
        pl.concat(
            [
                whole,
                joined.filter(phrases["text"].str.contains(" ")),
                joined.filter(text.str.len_chars() >= _CUT).with_columns(text.str.head(_CUT)),
            ]
        )
        .group_by("text", "category")
        .agg(weight.sort().sum())
        .sort("text", "category")
    )
    found = importance(whole["text"].unique(maintain_order=True), bits)
    weights, intercept = fitted(examples, found, taxonomy, _EFFORT)
    intercept -= intercept.mean()
    weights -= weights.mean(axis=1, keepdims=True)
    alone = phrases["text"].filter(~phrases["text"].str.contains(" "))
    spoken = np.union1d(vocabulary(whole["text"]), words(alone).hashes)
    return Knowledge(found, weights, intercept, _lexicon(phrases, taxonomy), spoken)


def importance(texts: pl.Series, bits: int) -> NDArray[np.float32]:
    """The inverse document frequency of each of `2**bits` n-grams among some normalised texts."""
    counts = ngrams(texts, bits)
    counts.sum_duplicates()
    documents = np.bincount(counts.indices, minlength=1 << bits)
    return (np.log((1 + texts.len()) / (1 + documents)) + 1).astype(np.float32)


def _lexicon(phrases: pl.DataFrame, taxonomy: Taxonomy) -> Lexicon:
    """Words of the language before names, and phrases as they are before those without spaces.

    Those with a number are left out: it would stand for any other.
    """
    coded = phrases.select("text", "kind", code=pl.Series(codes(phrases["category"], taxonomy)))
    coded = coded.filter(~pl.col("text").str.contains(NUMBER, literal=True))
    coded = coded.sort(pl.col("kind") == BRANDS, maintain_order=True)
    joined = coded.filter(pl.col("text").str.contains(" ")).with_columns(
        pl.col("text").str.replace_all(" ", "")
    )
    return lexicon(pl.concat([coded, joined.filter(pl.col("text").str.len_chars() >= _JOINED)]))
