"""From transactions to predictions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.domain.taxonomy import Taxonomy
from assay_model.artifact import SHIPPED, Artifact, load
from assay_model.cache import ANSWER, Cache
from assay_model.explain import explain
from assay_model.features import fingerprints
from assay_model.fields import Fields
from assay_model.linear import probabilities
from assay_model.scores import KNOWN, NEW, STRANGE, Scorer
from assay_model.text import seen

_BLOCK: Final = 16_384
_BLOCK_BYTES: Final = 1 << 20
"""Records at a time, and bytes of their texts, so that the memory of one call is bounded."""
_TELLING: Final = 3.0
"""What a field adds to a score at least to say what a text of unknown words does not: twenty times
as likely."""


@dataclass(frozen=True)
class Model:
    """A loaded model. Answers are the same for the same record, however often and from any thread.

    Attributes:
        artifact: what it was loaded from.
    """

    artifact: Artifact
    _scorer: Scorer = field(repr=False)
    _fields: Fields = field(repr=False)
    _cache: Cache = field(default_factory=Cache, repr=False)

    @staticmethod
    def load(path: Path | None = None) -> "Model":
        """Reads a model file, or the one that the package carries.

        Raises:
            ArtifactError: the file is missing, damaged or no model; names it and the reason.
        """
        return Model.of(load(path or SHIPPED))

    @staticmethod
    def of(artifact: Artifact) -> "Model":
        """The model that an artifact describes."""
        fields = Fields(artifact.fields, artifact.taxonomy)
        return Model(artifact, Scorer.of(artifact.weights), fields)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.artifact.name

    @property
    def version(self) -> str:
        """The model's version: another whenever an answer may differ."""
        return self.artifact.version

    @property
    def taxonomy(self) -> Taxonomy:
        """The categories that it answers with."""
        return self.artifact.taxonomy

    @property
    def reference(self) -> Mapping[str, Any] | None:
        """What its answers looked like at training: see `assay_model.drift.reference`."""
        return self.artifact.notes.get("reference")

    def predict(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """A category for every transaction, in the same order; any text gets one.

        The description counts, and the merchant, merchant category code, side and type of operation
        where they are given. Each distinct text is normalised and scored once a call, and an answer
        is remembered across calls by a hash of 64 bits.

        Args:
            transactions: has `description` (String, no nulls) and may have `merchant`, `mcc`,
                `side` and `operation_type`; other columns are ignored.

        Returns:
            `category` (Enum of the taxonomy), `confidence` (Float64 in [0, 1]: the probability
            that the category is right), `needs_review` (Boolean: the confidence is below the
            artifact's threshold, or neither a word of the text is known nor a field tells what it
            is), `feature_hash` (String: 16 hexadecimal digits that stand for the normalised text),
            `seen` (Boolean: training knew that text).
        """
        # All columns in one order and of one type, so that equal keys mean equal records.
        given = transactions.select(
            pl.col("description"),
            *(
                (pl.col(each) if each in transactions.columns else pl.lit(None))
                .cast(pl.String)
                .alias(each)
                for each in ("merchant", *self.artifact.fields)
            ),
        )
        keys = given.hash_rows().to_numpy()
        answers, known = self._cache.find(keys)
        if not known.all():
            others = np.flatnonzero(~known)
            distinct, first, rows = np.unique(keys[others], return_index=True, return_inverse=True)
            found = np.empty(distinct.size, ANSWER)
            asked = given[others[first]]
            for block in _blocks(asked):
                found[block] = self._answers(asked[block])
            self._cache.keep(distinct, found)
            answers[others] = found[rows]
        confidence, familiarity = answers["confidence"], answers["familiarity"]
        doubtful = (confidence < self.artifact.review_below) | (familiarity == STRANGE)
        return pl.DataFrame(
            {
                "category": pl.Series(answers["code"]).cat.to(pl.Enum(self.taxonomy.categories)),
                "confidence": confidence,
                "needs_review": doubtful,
                "feature_hash": _hexadecimal(answers["fingerprint"]),
                "seen": familiarity == KNOWN,
            }
        )

    def explain(self, transactions: pl.DataFrame, categories: pl.Series) -> pl.Series:
        """What speaks for a category of each transaction: see `assay_model.explain.PARTS`.

        The weights of one explanation sum to how far the category's score is above the mean of the
        others'.

        Args:
            transactions: as `predict` takes them.
            categories: of the taxonomy; usually those that `predict` answered.
        """
        chosen = categories.cast(pl.Enum(self.taxonomy.categories)).to_physical().to_numpy()
        return explain(self._scorer, self._fields, transactions, chosen.astype(np.int64))

    def scores(self, transactions: pl.DataFrame) -> NDArray[np.float64]:
        """One row per transaction, one column per category: what `predict` takes the largest of.

        Args:
            transactions: as `predict` takes them.
        """
        return self._scored(transactions)[0]

    def _answers(self, given: pl.DataFrame) -> NDArray[np.void]:
        found, fingerprint, familiarity = self._scored(given)
        chances = probabilities(found)
        answers = np.empty(given.height, ANSWER)
        answers["code"] = chances.argmax(axis=1)
        answers["confidence"] = chances.max(axis=1)
        answers["fingerprint"] = fingerprint
        answers["familiarity"] = familiarity
        return answers

    def _scored(
        self, given: pl.DataFrame
    ) -> tuple[NDArray[np.float64], NDArray[np.uint64], NDArray[np.uint8]]:
        """The scores, the fingerprint of the text, and how well it is known, by row."""
        texts = seen(given)
        fingerprint, first, rows = np.unique(
            fingerprints(texts), return_index=True, return_inverse=True
        )
        distinct = texts.gather(first)
        familiarity = self._scorer.familiarity(distinct, fingerprint)
        found = self._scorer.scores(distinct, familiarity)[rows]
        known = familiarity[rows]
        for added in self._fields.added(given).values():
            found += added
            known[(known == STRANGE) & (added.max(axis=1) >= _TELLING)] = NEW
        return found, fingerprint[rows], known


def _blocks(given: pl.DataFrame) -> list[slice]:
    """What is worked on at once, in order."""
    texts = (pl.col(each).str.len_bytes().fill_null(0) for each in ("description", "merchant"))
    size = given.select(pl.sum_horizontal(texts).cast(pl.Int64)).to_series().to_numpy()
    number = np.arange(size.size) // _BLOCK + np.cumsum(size) // _BLOCK_BYTES
    ends = [*np.flatnonzero(np.diff(number)) + 1, size.size]
    return [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]


def _hexadecimal(keys: NDArray[np.uint64]) -> pl.Series:
    digits = np.frombuffer(keys.astype(">u8").tobytes().hex().encode(), "S16")
    return pl.Series(digits, dtype=pl.Binary).cast(pl.String)
