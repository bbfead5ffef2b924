"""From transactions to predictions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.domain.taxonomy import Taxonomy
from assay_model.artifact import SHIPPED, Artifact, load
from assay_model.cache import ANSWER, Cache
from assay_model.explain import explain
from assay_model.features import fingerprints
from assay_model.linear import dense, logits, probabilities
from assay_model.text import seen


@dataclass(frozen=True)
class Model:
    """A loaded model. Answers are the same for the same text, however often and from any thread.

    Attributes:
        artifact: what it was loaded from.
    """

    artifact: Artifact
    _table: NDArray[np.float32] = field(repr=False)
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
        return Model(artifact, dense(artifact.layer))

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

        Only the description and, where it is given, the merchant count. Each distinct text is
        normalised and classified once, and remembered across calls by a hash of 64 bits.

        Args:
            transactions: has `description` (String, no nulls) and may have `merchant` (String);
                other columns are ignored.

        Returns:
            `category` (Enum of the taxonomy), `confidence` (Float64 in [0, 1]: the probability
            that the category is right), `needs_review` (Boolean: the confidence is below the
            artifact's threshold), `feature_hash` (String: 16 hexadecimal digits that stand for
            all that the model saw).
        """
        given = transactions.select(pl.col("^(description|merchant)$"))
        keys = given.hash_rows().to_numpy()
        distinct, first, rows = np.unique(keys, return_index=True, return_inverse=True)
        answers, known = self._cache.find(distinct)
        if not known.all():
            answers[~known] = self._answers(seen(given[first[~known]]))
            self._cache.keep(distinct[~known], answers[~known])
        answers = answers[rows]
        confidence = answers["confidence"]
        return pl.DataFrame(
            {
                "category": pl.Series(answers["code"]).cat.to(pl.Enum(self.taxonomy.categories)),
                "confidence": confidence,
                "needs_review": confidence < self.artifact.review_below,
                "feature_hash": _hexadecimal(answers["fingerprint"]),
            }
        )

    def explain(self, transactions: pl.DataFrame, categories: pl.Series) -> pl.Series:
        """What speaks for a category of each transaction: see `assay_model.explain.PARTS`.

        The weights of one explanation sum to how far the category's logit, before it is divided
        by the temperature, is above the mean of the others'.

        Args:
            transactions: as `predict` takes them.
            categories: of the taxonomy; usually those that `predict` answered.
        """
        chosen = categories.cast(pl.Enum(self.taxonomy.categories)).to_physical().to_numpy()
        intercept = self.artifact.layer.intercept
        return explain(self._table, intercept, transactions, chosen.astype(np.int64))

    def _answers(self, texts: pl.Series) -> NDArray[np.void]:
        """The answer to each normalised text; equal ones are classified once."""
        fingerprint = fingerprints(texts)
        _, first, rows = np.unique(fingerprint, return_index=True, return_inverse=True)
        found = logits(self._table, self.artifact.layer.intercept, texts.gather(first))
        chances = probabilities(found, self.artifact.temperature)
        answers = np.empty(texts.len(), ANSWER)
        answers["code"] = chances.argmax(axis=1)[rows]
        answers["confidence"] = chances.max(axis=1)[rows]
        answers["fingerprint"] = fingerprint
        return answers


def _hexadecimal(keys: NDArray[np.uint64]) -> pl.Series:
    digits = np.frombuffer(keys.astype(">u8").tobytes().hex().encode(), "S16")
    return pl.Series(digits, dtype=pl.Binary).cast(pl.String)
