"""What people said goes before what the model says.

Corrections are shaped as `assay.wire.corrections.CORRECTIONS`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from assay.domain.errors import Fatal
from assay.domain.taxonomy import Taxonomy
from assay_model.explain import PARTS
from assay_model.predict import Model
from assay_model.text import seen

_ALONE: Final = 1.0  # what a correction weighs: nothing is weighed against it


def corrected(model: Model, corrections: pl.DataFrame) -> "Model | Corrected":
    """The model as corrected by people; without corrections it is the model itself.

    Of several corrections of what is one descriptor to this model, the latest counts. Those of
    descriptors without a word are passed over: see `worded`.

    Raises:
        Fatal: a category is not of the model's taxonomy; names all that are not.
    """
    require_known(corrections, model.taxonomy)
    corrections = worded(corrections)
    if corrections.is_empty():
        return model
    # The model itself says what is one descriptor, whatever its normalisation.
    descriptors = model.predict(corrections.select("description", "merchant"))["feature_hash"]
    answers = (
        corrections.select(descriptors, "category", "at")
        .sort("at", maintain_order=True)
        .unique("feature_hash", keep="last")
        .sort("feature_hash")
        .select("feature_hash", pl.col("category").cast(pl.Enum(model.taxonomy.categories)))
    )
    return Corrected(model, answers, f"{model.version}+{_digest(answers)}")


def worded(corrections: pl.DataFrame) -> pl.DataFrame:
    """Those whose descriptor has a letter.

    Without one, all that is left of a text is how many numbers it has: what is said of `12345`
    would be said of every other number, and what is said of an emoji of every text without content.
    """
    return corrections.filter(seen(corrections).str.contains(r"\p{L}"))


def require_known(corrections: pl.DataFrame, taxonomy: Taxonomy) -> None:
    """Returns if all corrections are of a taxonomy.

    Raises:
        Fatal: names the categories that are not.
    """
    unknown = set(corrections["category"]) - set(taxonomy.categories)
    if unknown:
        raise Fatal(
            f"corrections have categories that the taxonomy {taxonomy.name} {taxonomy.version} "
            f"lacks: {', '.join(sorted(unknown))}"
        )


@dataclass(frozen=True)
class Corrected:
    """A model whose answers people have corrected for some descriptors; see `corrected`.

    Attributes:
        model: who answers for all others.
        answers: `feature_hash` (String, distinct, sorted) and `category` (Enum of the taxonomy).
        version: another whenever an answer may differ: that of the model, `+`, and eight
            hexadecimal digits that stand for all corrections.
    """

    model: Model
    answers: pl.DataFrame
    version: str

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def taxonomy(self) -> Taxonomy:
        """The categories that it answers with."""
        return self.model.taxonomy

    @property
    def reference(self) -> Mapping[str, Any] | None:
        """The model's own, since corrections do not change what it was trained on."""
        return self.model.reference

    def predict(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """As the model; a corrected answer has the confidence 1 and needs no review."""
        said = self.model.predict(transactions)
        told = self._told(said)
        is_told = told.is_not_null()
        if not is_told.any():
            return said
        return said.with_columns(
            category=pl.coalesce(told, "category"),
            confidence=pl.when(is_told).then(1.0).otherwise("confidence"),
            needs_review=pl.col("needs_review") & ~is_told,
        )

    def explain(self, transactions: pl.DataFrame, categories: pl.Series) -> pl.Series:
        """As the model; for a category that people have said, that alone, as `correction`."""
        asked = categories.cast(pl.Enum(self.taxonomy.categories))
        told = (self._told(self.model.predict(transactions)) == asked).fill_null(value=False)
        by_model = self.model.explain(transactions, categories)
        if not told.any():
            return by_model
        part = pl.struct(part="text", kind=pl.lit("correction"), weight=pl.lit(_ALONE))
        frame = pl.DataFrame([seen(transactions).alias("text"), by_model.alias("by_model")])
        return frame.select(
            pl.when(told).then(pl.concat_list(part).cast(PARTS)).otherwise("by_model")
        ).to_series()

    def _told(self, said: pl.DataFrame) -> pl.Series:
        """What people say where the model says this; null where they say nothing."""
        return said.select("feature_hash").join(
            self.answers, on="feature_hash", how="left", maintain_order="left"
        )["category"]


def _digest(answers: pl.DataFrame) -> str:
    lines = answers.select(line=pl.format("{} {}\n", "feature_hash", pl.col("category").cast(str)))
    return hashlib.sha256("".join(lines["line"]).encode()).hexdigest()[:8]
