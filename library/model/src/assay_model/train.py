"""Training: deterministic, calibrated on traffic that is later than what the fit saw."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay.wire import corrections as published
from assay_model import corpus
from assay_model.artifact import FORMAT, Artifact, arrays
from assay_model.corrections import require_known, worded
from assay_model.drift import reference
from assay_model.evaluate import codes, evaluate
from assay_model.features import fingerprints, located
from assay_model.fields import Adds, usual
from assay_model.gazetteer import BRANDS, WORDS
from assay_model.knowledge import Effort, Knowledge, fitted, importance, known, vectors
from assay_model.lexicon import GROUPS, KINDS
from assay_model.linear import probabilities, quantise
from assay_model.measures import FEW, clustered
from assay_model.predict import Model
from assay_model.regression import Mixture, mixture
from assay_model.scores import STRANGE, Scorer, Weights, counted_phrases, merchant, vocabulary
from assay_model.splits import FOLDS, never_seen
from assay_model.text import seen

NAME: Final = "assay-linear"
CALIBRATED_FROM: Final = date(2020, 7, 1)
"""Temperatures and review threshold come from the traffic of half a year before the test."""
TESTED_FROM: Final = date(2021, 1, 1)
"""Traffic from here on is for measuring only."""
ACCURACY: Final = 0.95
"""What share of the predictions that need no review should be right."""

_CORRECTION: Final = 3.0
"""Weight of one: a descriptor that was seen nine times weighs as much."""
# A layer for known texts may learn them by heart, one for others must not.
_BY_HEART: Final = Effort(penalty=0.01, iterations=150)
_IN_GENERAL: Final = Effort(penalty=0.1, iterations=80)
_DEVIATION: Final = 3000.0


def train(
    folder: Path, progress: Callable[[str], None], corrections: pl.DataFrame | None = None
) -> Artifact:
    """A model from the folder's data: fitted before `TESTED_FROM`, measured after it.

    The traffic is learnt twice: before `CALIBRATED_FROM`, to find how it mixes with what is known
    without it, and temperatures and threshold on the traffic that follows; and again on everything
    before `TESTED_FROM`. Only the latter learns from corrections: people may have made them of the
    very rows that confidence is measured on.

    Args:
        folder: see `assay_model.corpus`.
        progress: told what is being done.
        corrections: what people have said, shaped as `assay.wire.corrections.CORRECTIONS`.

    Raises:
        Unreadable: a file is missing or not as expected.
        Fatal: a correction has a category that the taxonomy lacks.
    """
    said = pl.DataFrame(schema=published.CORRECTIONS) if corrections is None else corrections
    require_known(said, DEFAULT)
    traffic = corpus.traffic(folder)
    day = pl.col("date")
    learnt, later = traffic.filter(day < TESTED_FROM), traffic.filter(day >= TESTED_FROM)
    held_out = learnt.filter(day >= CALIBRATED_FROM)
    artifact = learner(folder, progress)(learnt, said)
    progress(f"measuring on {later.height} rows from {TESTED_FROM} on")
    told, learnt_from = dict[str, int](), corpus.provenance(folder)
    if said.height:
        told["corrections"] = said.height
        learnt_from.append(
            {
                "file": published.NAME,
                "sha256": hashlib.sha256(published.write(said)).hexdigest(),
                "licence": "your own",
                "attribution": "What people have said of predictions.",
            }
        )
    notes = artifact.notes | {
        "data": learnt_from,
        "fitted": _extent(learnt) | told,
        "calibrated": _extent(held_out) | {"accuracy": ACCURACY},
        "tested": _extent(later) | {"measured": measure(artifact, learnt, later)},
    }
    return replace(artifact, notes=notes)


@dataclass(frozen=True)
class Learner:
    """Trains as `train` does, on whatever rows before `TESTED_FROM` it is given.

    Attributes:
        knowledge: what is known without traffic.
        fields: what other fields than the texts say.
        taxonomy: of all of them.
        progress: told what is being done.
    """

    knowledge: Knowledge
    fields: Adds
    taxonomy: Taxonomy
    progress: Callable[[str], None]

    def __call__(self, learnt: pl.DataFrame, corrections: pl.DataFrame | None = None) -> Artifact:
        """An artifact whose notes hold the reference for drift alone.

        Args:
            learnt: see `assay_model.corpus.traffic`; some rows from `CALIBRATED_FROM` on.
            corrections: shaped as `assay.wire.corrections.CORRECTIONS`.
        """
        before = pl.col("date") < CALIBRATED_FROM
        early, held_out = learnt.filter(before), learnt.filter(~before)
        self.progress(f"fitting on {early.height} rows before {CALIBRATED_FROM}")
        first = examples(early)
        mixed = mix(first, self.knowledge, self.taxonomy)
        weights = fit(first, mixed, self.knowledge, self.taxonomy)
        self.progress(f"calibrating on {held_out.height} rows before {TESTED_FROM}")
        temperatures, review_below = calibrate(weights, held_out, self.taxonomy)
        weights = replace(weights, temperatures=temperatures)
        judged = Model.of(build(weights, self.fields, self.taxonomy, review_below))
        self.progress(f"fitting on {learnt.height} rows before {TESTED_FROM}")
        rows = examples(learnt)
        if corrections is not None:
            rows = taught(rows, corrections)
        weights = fit(rows, mixed, self.knowledge, self.taxonomy)
        weights = replace(weights, temperatures=temperatures)
        final = build(weights, self.fields, self.taxonomy, review_below)
        return replace(final, notes={"reference": reference(judged, held_out)})


def learner(folder: Path, progress: Callable[[str], None]) -> Learner:
    """What trains with all that the folder holds beside traffic.

    Args:
        folder: see `assay_model.corpus`.
        progress: told what is being done.

    Raises:
        Unreadable: a file is missing or not as expected.
    """
    progress("learning from lessons and gazetteer")
    codes = usual(corpus.codes(folder))
    return Learner(known(folder, DEFAULT), codes, DEFAULT, progress)


def examples(traffic: pl.DataFrame) -> pl.DataFrame:
    """Distinct `text` and `category` with a `weight`, sorted.

    Equal rows weigh the root of their number: full counts would leave everything to a few large
    merchants, and one each would forget which descriptor is common.

    Args:
        traffic: `description`, `category`.
    """
    return (
        traffic.select(seen(traffic).alias("text"), "category")
        .group_by("text", "category")
        .agg(weight=pl.len().sqrt())
        .sort("text", "category")
    )


def taught(learnt: pl.DataFrame, corrections: pl.DataFrame) -> pl.DataFrame:
    """Examples in which people's corrections stand in place of all that was said of the same text.

    Of several corrections of a text the latest counts; texts without a word are passed over.

    Args:
        learnt: see `examples`.
        corrections: shaped as `assay.wire.corrections.CORRECTIONS`.
    """
    told = worded(corrections)
    said = (
        told.select(seen(told).alias("text"), "category", "at")
        .sort("at", maintain_order=True)
        .unique("text", keep="last")
        .select("text", "category", weight=pl.lit(_CORRECTION))
    )
    others = learnt.join(said, on="text", how="anti")
    return pl.concat([others, said]).sort("text", "category")


@dataclass(frozen=True)
class _Layer:
    """What the traffic teaches: multinomial logistic regression over n-grams.

    Categories are not weighed against each other: the confidence has to be a probability under
    the traffic's own frequencies.

    Attributes:
        weights: float32, one row per n-gram, one column per category.
        intercept: float32, one per category.
    """

    weights: NDArray[np.float32]
    intercept: NDArray[np.float32]

    @staticmethod
    def of(
        frame: pl.DataFrame,
        importance: NDArray[np.float32],
        taxonomy: Taxonomy,
        effort: Effort = _IN_GENERAL,
    ) -> "_Layer":
        """Fitted on examples, whose n-grams have this importance."""
        return _Layer(*fitted(frame, importance, taxonomy, effort))

    def among(self, told: NDArray[np.bool_]) -> "_Layer":
        """One that says nothing of the categories that it was not told enough of."""
        share = told / max(told.sum(), 1)
        weights = self.weights - (self.weights @ share)[:, None]
        intercept = self.intercept - self.intercept @ share
        return _Layer(weights * told, intercept * told)


def fit(frame: pl.DataFrame, mixed: Mixture, knowledge: Knowledge, taxonomy: Taxonomy) -> Weights:
    """The weights that examples give, with temperatures of 1.

    Args:
        frame: see `examples`.
        mixed: see `mix`.
        knowledge: what is known without traffic.
        taxonomy: holds every category.
    """
    usual = importance(frame["text"], knowledge.bits)
    familiar = _Layer.of(frame, usual, taxonomy, _BY_HEART)
    told = _Layer.of(frame, knowledge.importance, taxonomy).among(_told(frame, taxonomy))
    by_traffic, by_knowledge, *by_group = mixed.matrices
    whose = frame.select(merchant(pl.col("text"))).to_series()
    return Weights(
        descriptors=np.unique(fingerprints(frame["text"])),
        merchants=np.unique(fingerprints(whose)),
        words=np.union1d(vocabulary(frame["text"]), knowledge.words),
        familiar=quantise(familiar.weights, usual, familiar.intercept),
        general=quantise(
            told.weights @ by_traffic + knowledge.weights @ by_knowledge,
            knowledge.importance,
            told.intercept @ by_traffic + knowledge.intercept @ by_knowledge + mixed.intercept,
        ),
        lexicon=knowledge.lexicon,
        phrases=np.stack(by_group).astype(np.float32),
        temperatures=np.ones(STRANGE + 1),
    )


def mix(frame: pl.DataFrame, knowledge: Knowledge, taxonomy: Taxonomy) -> Mixture:
    """How to mix what the traffic says of merchants that it has not seen with what is known.

    Each of five folds of merchants is judged by what the others teach. Of a category that the
    traffic tells little of it cannot be learnt: it has the intercept of the rarest other one, and
    its words are believed as much as names.

    Args:
        frame: see `examples`.
        knowledge: what is known without traffic.
        taxonomy: holds every category.
    """
    told = _told(frame, taxonomy)
    texts, count = frame["text"], len(taxonomy.categories)
    rows = vectors(texts, knowledge.importance)
    whose = frame.select(merchant(pl.col("text"))).to_series()
    fold = fingerprints(whose) % np.uint64(FOLDS)
    traffic = np.zeros((frame.height, count))
    for number in np.unique(fold):
        held_out = fold == number
        layer = _Layer.of(frame.filter(~held_out), knowledge.importance, taxonomy).among(told)
        traffic[held_out] = rows[held_out] @ layer.weights + layer.intercept
    known = rows @ knowledge.weights + knowledge.intercept
    hits = knowledge.lexicon.find(located(texts, knowledge.bits))
    phrases = counted_phrases(hits, count, frame.height).toarray()
    mixed = mixture(
        [traffic, known, *np.split(phrases, GROUPS, axis=1)],
        codes(frame["category"], taxonomy),
        frame["weight"].to_numpy(),
        penalty=_DEVIATION,
    )
    matrices = mixed.matrices.copy()
    for group in range(2, 2 + GROUPS, len(KINDS)):
        of_words, of_brands = (group + KINDS.index(kind) for kind in (WORDS, BRANDS))
        matrices[of_words, ~told] = matrices[of_brands, ~told]
    rarest = mixed.intercept[told].min() if told.any() else 0
    return Mixture(matrices, np.where(told, mixed.intercept, rarest))


def calibrate(
    weights: Weights, held_out: pl.DataFrame, taxonomy: Taxonomy
) -> tuple[NDArray[np.float64], float]:
    """The temperatures that fit held-out rows best, and the threshold for `ACCURACY`.

    Best is the least log loss of whether the answer is right: it is the answer's probability that
    is told, not those of the others.

    Rows, not distinct texts: confidence has to hold for traffic as it comes. The threshold is the
    lowest hundredth at which even the lower end of the accuracy's interval, which counts merchants,
    is enough: what comes later has other merchants.

    Args:
        weights: fitted on earlier rows, with temperatures of 1.
        held_out: `description`, `category`.
        taxonomy: holds every category.
    """
    scorer, texts = Scorer.of(weights), seen(held_out)
    familiarity = scorer.familiarity(texts)
    found = scorer.scores(texts, familiarity)
    truth = codes(held_out["category"], taxonomy)
    temperatures = np.ones(STRANGE + 1)
    for kind in range(temperatures.size):
        rows = familiarity == kind
        if rows.sum() >= FEW:
            temperatures[kind] = _temperature(found[rows], truth[rows])
    chances = probabilities(found / temperatures[familiarity][:, None])
    judged = familiarity != STRANGE
    whose = fingerprints(texts.to_frame("text").select(merchant(pl.col("text"))).to_series())
    right, confidence = chances.argmax(axis=1) == truth, chances.max(axis=1)
    return temperatures, _surely(right[judged], confidence[judged], whose[judged])


def build(weights: Weights, fields: Adds, taxonomy: Taxonomy, review_below: float) -> Artifact:
    """An artifact without notes, whose version follows from all that decides its answers."""
    digest = hashlib.sha256(repr((taxonomy, fields, review_below)).encode())
    for numbers in arrays(weights).values():
        digest.update(numbers.tobytes())
    return Artifact(
        name=NAME,
        version=f"{FORMAT}-{digest.hexdigest()[:12]}",
        taxonomy=taxonomy,
        weights=weights,
        fields=fields,
        review_below=review_below,
        notes={},
    )


def measure(artifact: Artifact, learnt: pl.DataFrame, later: pl.DataFrame) -> dict[str, Any]:
    """Figures over all later rows, and over those of merchants that were never learnt."""
    return {
        name: asdict(evaluate(Model.of(artifact), rows))
        for name, rows in (
            ("all rows", later),
            ("merchants never seen", never_seen(learnt, later)),
        )
    }


def _extent(rows: pl.DataFrame) -> dict[str, Any]:
    first, last = rows.select(pl.col("date").min(), last=pl.col("date").max()).row(0)
    return {"rows": rows.height, "from": first.isoformat(), "to": last.isoformat()}


def _told(frame: pl.DataFrame, taxonomy: Taxonomy) -> NDArray[np.bool_]:
    """The categories of which there are examples enough."""
    places = codes(frame["category"], taxonomy)
    return np.bincount(places, minlength=len(taxonomy.categories)) >= FEW


def _surely(
    right: NDArray[np.bool_], confidence: NDArray[np.float64], whose: NDArray[Any]
) -> float:
    for least in np.arange(0, 1, 0.01):
        accepted = confidence >= least
        if accepted.any() and clustered(right[accepted], whose[accepted]).low >= ACCURACY:
            return round(float(least), 2)
    return 1.0


def _temperature(found: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    wrong = found.argmax(axis=1) != truth

    def loss(logarithm: float) -> float:
        confidence = probabilities(found / np.exp(logarithm)).max(axis=1)
        told = np.abs(wrong - confidence)
        return -float(np.log(told + 1e-300).mean())

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded").x
    # Rounded, because the last digits depend on the order of the rows.
    return round(float(np.exp(best)), 3)
