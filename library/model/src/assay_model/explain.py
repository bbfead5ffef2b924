"""Why a category was answered: what each part of the text said for it.

A category's margin is its score less the mean score of the others. Each feature block adds to the
scores, so a block is explained by one function of `BLOCKS`, which says what its features add to
the margin, part by part. A block that is added to the model adds its function there; the parts of
all blocks then still sum to the margin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay_model.features import CHARACTERS, Grams, located
from assay_model.fields import Fields
from assay_model.lexicon import Lexicon
from assay_model.scores import KNOWN, Scorer, strength
from assay_model.text import seen

MOST: Final = 10
"""Parts of one explanation."""

PARTS: Final = pl.List(pl.Struct({"part": pl.String, "kind": pl.String, "weight": pl.Float64}))
"""An explanation, the weightiest part first.

- `part`: words of the normalised text (`#` stands for a number); empty where there are none.
- `kind`: `word`: its letters and itself; `pair`: two neighbouring words; `phrase`: one that the
  lexicon knows; `field`: another field of the record, as `side=debit`; `prior`: what would be said
  of an empty text; `rest`: all parts that are not listed, always last; `correction`: the
  whole text, since people have said what it is, and then the only part.
- `weight`: what it adds to the margin; negative where it speaks for another category. That of a
  correction is 1.
"""

_BLOCK: Final = 100
"""Texts at a time, so that memory is bounded."""

_SHAPE: Final = pl.Schema(
    {"row": pl.UInt32, "part": pl.String, "kind": pl.String, "weight": pl.Float64}
)


@dataclass(frozen=True)
class Question:
    """What is to be explained, for some transactions at once whose texts one layer answers.

    Attributes:
        transactions: what the model was asked.
        texts: the normalised text of each.
        chosen: the place of each one's category in the taxonomy.
        temperatures: what the scores of each one's text were divided by.
        grams: of the texts.
        table: the layer's, see `assay_model.linear.dense`.
        intercept: the layer's.
        lexicon: whose phrases count; None where they do not.
        phrases: what they add, see `assay_model.scores.Weights`.
        fields: what other fields say.
    """

    transactions: pl.DataFrame
    texts: pl.Series
    chosen: NDArray[np.int64]
    temperatures: NDArray[np.float64]
    grams: Grams
    table: NDArray[np.float32]
    intercept: NDArray[np.float32]
    lexicon: Lexicon | None
    phrases: NDArray[np.float32]
    fields: Fields


def explain(
    scorer: Scorer,
    fields: Fields,
    transactions: pl.DataFrame,
    chosen: NDArray[np.int64],
) -> pl.Series:
    """An explanation of each transaction's category, of type `PARTS`.

    Args:
        scorer: the model's.
        fields: the model's.
        transactions: what the model was asked.
        chosen: the place of each one's category in the taxonomy; it need not be the likeliest.
    """
    texts = seen(transactions)
    familiarity = scorer.familiarity(texts)
    weights = scorer.weights
    found: list[pl.DataFrame] = []
    for known, layer, table, lexicon in (
        (familiarity == KNOWN, weights.familiar, scorer.familiar, None),
        (familiarity != KNOWN, weights.general, scorer.general, weights.lexicon),
    ):
        rows = np.flatnonzero(known)
        for start in range(0, rows.size, _BLOCK):
            block = rows[start : start + _BLOCK]
            question = Question(
                transactions[block],
                texts.gather(block),
                chosen[block],
                weights.temperatures[familiarity[block]],
                located(texts.gather(block), layer.bits),
                table,
                layer.intercept,
                lexicon,
                weights.phrases,
                fields,
            )
            parts = pl.concat([explained(question) for explained in BLOCKS])
            found.append(parts.with_columns(pl.Series("row", block[parts["row"].to_numpy()])))
    return _listed(found) if found else pl.Series(dtype=PARTS)


def margins(logits: NDArray[np.floating], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """How far the chosen column of each row is above the mean of the row's others."""
    picked = logits[np.arange(chosen.size), chosen].astype(np.float64)
    others = logits.sum(axis=1, dtype=np.float64) - picked
    return picked - others / (logits.shape[1] - 1)


def _prior(question: Question) -> pl.DataFrame:
    """What the intercept adds."""
    rows = question.chosen.size
    intercept = np.broadcast_to(question.intercept, (rows, question.intercept.size))
    adds = margins(intercept, question.chosen) / question.temperatures
    return _parts(np.arange(rows), [""] * rows, "prior", adds)


def _words(question: Question) -> pl.DataFrame:
    """What the n-grams add, by word and pair of words.

    An n-gram of characters is shared out evenly among its bytes, and with them among their words;
    one of spaces alone, which an empty text has, belongs to the prior.
    """
    grams = question.grams
    text_of = np.repeat(np.arange(question.chosen.size), np.diff(grams.ends, prepend=0))
    adds = _added(question, text_of)

    # The number of the word that each byte belongs to, over all texts; -1 for a space.
    of = np.where(grams.space, -1, np.cumsum(~grams.space & np.roll(grams.space, 1)) - 1)
    words = _spelt(question.texts)
    text_of_word = np.zeros(len(words), np.int64)
    text_of_word[of[of >= 0]] = text_of[of >= 0]

    # A text owns the space after it, too, as far as its n-grams reach.
    reached = np.append(of, np.full(max(CHARACTERS), -1))
    by_word = np.zeros(len(words))
    nothing = np.zeros(question.chosen.size)
    for place, length in enumerate(CHARACTERS):
        covered = np.lib.stride_tricks.sliding_window_view(reached, length)[: of.size]
        letters = (covered >= 0).sum(axis=1)
        share = adds[:, place] / np.maximum(letters, 1)
        for column in covered.T:
            inside = column >= 0
            by_word += np.bincount(column[inside], share[inside], len(words))
        nothing += np.bincount(text_of[letters == 0], adds[letters == 0, place], nothing.size)
    begins = grams.present[:, -2]
    by_word += np.bincount(of[begins], adds[begins, -2], len(words))
    second = grams.present[:, -1]
    pairs = of[second]
    return pl.concat(
        [
            _parts(text_of_word, words, "word", by_word),
            _parts(
                text_of[second],
                [f"{words[each - 1]} {words[each]}" for each in pairs],
                "pair",
                adds[second, -1],
            ),
            _parts(np.arange(nothing.size), [""] * nothing.size, "prior", nothing),
        ]
    )


def _phrases(question: Question) -> pl.DataFrame:
    """What the phrases of the lexicon add."""
    if question.lexicon is None:
        return _parts(np.zeros(0, np.int64), [], "phrase", np.zeros(0))
    hits = question.lexicon.find(question.grams)
    words = _spelt(question.texts)
    spelt = [
        " ".join(words[first : first + size])
        for first, size in zip(hits.words, hits.sizes, strict=True)
    ]
    adds = question.phrases[hits.groups, hits.codes] * strength(hits.sizes)[:, None]
    said = margins(adds, question.chosen[hits.rows]) / question.temperatures[hits.rows]
    return _parts(hits.rows, spelt, "phrase", said)


def _fields(question: Question) -> pl.DataFrame:
    """What the other fields add."""
    rows = np.arange(question.chosen.size)
    said = question.fields.added(question.transactions).items()
    parts = [
        _parts(
            rows,
            [f"{column}={value}" for value in question.transactions[column]],
            "field",
            margins(added, question.chosen),
        )
        for column, added in said
    ]
    return pl.concat(parts) if parts else _parts(rows[:0], [], "field", np.zeros(0))


BLOCKS: Final[tuple[Callable[[Question], pl.DataFrame], ...]] = (_prior, _words, _phrases, _fields)
"""One function per feature block: `row`, `part`, `kind`, `weight`; a part may come twice."""


def _spelt(texts: pl.Series) -> list[str]:
    """The words of all texts, one after the other."""
    return [each for each in texts.str.split(" ").explode().to_list() if each]


def _added(question: Question, text_of: NDArray[np.int64]) -> NDArray[np.float64]:
    """What each n-gram adds to the margin of its text, shaped as the grams' columns."""
    grams = question.grams
    at = np.broadcast_to(text_of[:, None], grams.present.shape)[grams.present]
    rows = question.table[grams.columns[grams.present]]
    lengths = np.sqrt(np.bincount(at, rows[:, -1], question.chosen.size))
    adds = np.zeros(grams.present.shape)
    scale = lengths[at] * question.temperatures[at]
    adds[grams.present] = margins(rows[:, :-1], question.chosen[at]) / scale
    return adds


def _parts(
    rows: NDArray[np.int64], parts: list[str], kind: str, weights: NDArray[np.float64]
) -> pl.DataFrame:
    return pl.DataFrame({"row": rows, "part": parts, "weight": weights}).select(
        pl.lit(kind).alias(name) if name == "kind" else pl.col(name).cast(dtype)
        for name, dtype in _SHAPE.items()
    )


def _listed(blocks: list[pl.DataFrame]) -> pl.Series:
    """One list a row: the weightiest parts, and the rest in one where there are too many."""
    ranked = (
        pl.concat(blocks)
        .group_by("row", "kind", "part")
        .agg(pl.col("weight").sum())
        .filter((pl.col("weight") != 0) | (pl.col("kind") == "prior"))
        .sort(pl.col("row"), -pl.col("weight").abs(), "kind", "part")
        .with_columns(place=pl.int_range(pl.len()).over("row"), all=pl.len().over("row"))
        .with_columns(rest=(pl.col("all") > MOST) & (pl.col("place") >= MOST - 1))
    )
    listed = ranked.filter(~pl.col("rest")).select(_SHAPE.names())
    rest = (
        ranked.filter("rest")
        .group_by("row")
        .agg(pl.col("weight").sum())
        .select("row", part=pl.lit(""), kind=pl.lit("rest"), weight="weight")
    )
    return (
        pl.concat([listed, rest])
        .group_by("row", maintain_order=True)
        .agg(parts=pl.struct("part", "kind", "weight"))
        .sort("row")["parts"]
        .cast(PARTS)
    )
