"""Training: deterministic, calibrated on traffic that is later than what the fit saw."""

import hashlib
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from scipy import sparse
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay.wire import corrections as published
from assay_model import corpus
from assay_model.artifact import FORMAT, Artifact
from assay_model.corrections import require_known
from assay_model.drift import reference
from assay_model.evaluate import codes, evaluate
from assay_model.features import ngrams
from assay_model.linear import Linear, dense, logits, probabilities, quantise
from assay_model.measures import accepting
from assay_model.predict import Model
from assay_model.splits import never_seen
from assay_model.text import seen

NAME: Final = "assay-linear"
CALIBRATED_FROM: Final = date(2020, 7, 1)
"""Temperature and review threshold come from the traffic of half a year before the test."""
TESTED_FROM: Final = date(2021, 1, 1)
"""Traffic from here on is for measuring only."""
ACCURACY: Final = 0.95
"""What share of the predictions that need no review should be right."""

_CORRECTION: Final = 3.0
"""Weight of one: a descriptor that was seen nine times weighs as much."""
_BITS: Final = 17
_STRENGTH: Final = 30.0
_ITERATIONS: Final = 1000


def train(
    folder: Path, progress: Callable[[str], None], corrections: pl.DataFrame | None = None
) -> Artifact:
    """A model from the folder's data: fitted before `TESTED_FROM`, measured after it.

    The layer is fitted twice: before `CALIBRATED_FROM`, to find temperature and threshold on the
    traffic that follows, and again on everything before `TESTED_FROM`. Only the latter learns from
    corrections: people may have made them of the very rows that confidence is measured on.

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
    traffic, lessons = corpus.traffic(folder), corpus.lessons(folder)
    day = pl.col("date")
    learnt, later = traffic.filter(day < TESTED_FROM), traffic.filter(day >= TESTED_FROM)
    held_out = learnt.filter(day >= CALIBRATED_FROM)
    artifact = learn(learnt, lessons, progress, said)
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
        "fitted": _extent(learnt) | {"lessons": lessons.height} | told,
        "calibrated": _extent(held_out) | {"accuracy": ACCURACY},
        "tested": _extent(later) | {"measured": measure(artifact, learnt, later)},
    }
    return replace(artifact, notes=notes)


def learner(folder: Path, progress: Callable[[str], None]) -> Callable[[pl.DataFrame], Model]:
    """What trains as `train` does, on whatever rows before `TESTED_FROM` it is given.

    Args:
        folder: see `assay_model.corpus`; of it the lessons are taken.
        progress: told what is being done.

    Raises:
        Unreadable: a file is missing or not as expected.
    """
    lessons = corpus.lessons(folder)
    nothing = pl.DataFrame(schema=published.CORRECTIONS)
    return lambda rows: Model.of(learn(rows, lessons, progress, nothing))


def learn(
    learnt: pl.DataFrame,
    lessons: pl.DataFrame,
    progress: Callable[[str], None],
    corrections: pl.DataFrame,
) -> Artifact:
    """A model from some rows of the traffic before `TESTED_FROM`; see `train`.

    Its notes hold the reference for drift alone.

    Args:
        learnt: see `assay_model.corpus.traffic`; some of them from `CALIBRATED_FROM` on.
        lessons: see `assay_model.corpus.lessons`.
        progress: told what is being done.
        corrections: shaped as `assay.wire.corrections.CORRECTIONS`.
    """
    day = pl.col("date")
    held_out = learnt.filter(day >= CALIBRATED_FROM)
    progress(f"fitting on {learnt.height - held_out.height} rows before {CALIBRATED_FROM}")
    layer = fit(examples(learnt.filter(day < CALIBRATED_FROM), lessons), DEFAULT)
    progress(f"calibrating on {held_out.height} rows before {TESTED_FROM}")
    temperature, review_below = calibrate(layer, held_out, DEFAULT)
    usual = reference(Model.of(build(layer, DEFAULT, temperature, review_below)), held_out)
    progress(f"fitting on {learnt.height} rows before {TESTED_FROM}")
    layer = fit(taught(examples(learnt, lessons), corrections), DEFAULT)
    return replace(build(layer, DEFAULT, temperature, review_below), notes={"reference": usual})


def examples(traffic: pl.DataFrame, lessons: pl.DataFrame) -> pl.DataFrame:
    """Distinct `text` and `category` with a `weight`, sorted.

    Equal rows of the traffic weigh the root of their number: full counts would leave everything
    to a few large merchants, and one each would forget which descriptor is common.

    Args:
        traffic: `description`, `category`.
        lessons: `description`, `category`, `weight`.
    """
    rows = traffic.select(seen(traffic).alias("text"), "category")
    return (
        pl.concat(
            [
                rows.group_by("text", "category").agg(weight=pl.len().sqrt()),
                lessons.select(seen(lessons).alias("text"), "category", "weight"),
            ]
        )
        .group_by("text", "category")
        .agg(pl.col("weight").sort().sum())
        .sort("text", "category")
    )


def taught(learnt: pl.DataFrame, corrections: pl.DataFrame) -> pl.DataFrame:
    """Examples in which people's corrections stand in place of all that was said of the same text.

    Of several corrections of a text the latest counts.

    Args:
        learnt: see `examples`.
        corrections: shaped as `assay.wire.corrections.CORRECTIONS`.
    """
    said = (
        corrections.select(seen(corrections).alias("text"), "category", "at")
        .sort("at", maintain_order=True)
        .unique("text", keep="last")
        .select("text", "category", weight=pl.lit(_CORRECTION))
    )
    others = learnt.join(said, on="text", how="anti")
    return pl.concat([others, said]).sort("text", "category")


def fit(frame: pl.DataFrame, taxonomy: Taxonomy, bits: int = _BITS) -> Linear:
    """Multinomial logistic regression over n-grams weighed by inverse document frequency.

    Categories are not weighed against each other: the confidence has to be a probability under
    the traffic's own frequencies. A category without an example is never answered.

    Args:
        frame: `text`, `category`, `weight`, see `examples`.
        taxonomy: holds every category of the frame, of which at least three occur.
        bits: n-grams are hashed into `2**bits` columns.
    """
    counts = ngrams(frame["text"], bits)
    present = counts.copy()
    present.sum_duplicates()
    documents = np.bincount(present.indices, minlength=1 << bits)
    importance = np.log((1 + frame.height) / (1 + documents)) + 1
    lengths = np.sqrt(counts @ np.square(importance))
    used = np.flatnonzero(documents)
    columns = np.searchsorted(used, present.indices)
    values = present.data * importance[present.indices]
    values /= np.repeat(lengths, np.diff(present.indptr))
    vectors = sparse.csr_array((values, columns, present.indptr), (frame.height, used.size))
    # scikit-learn carries no types.
    regression: Any = LogisticRegression(C=_STRENGTH, max_iter=_ITERATIONS, tol=1e-3)
    # One thread, because the order in which threads add up shows in the last digits.
    with threadpool_limits(limits=1):
        regression.fit(vectors, codes(frame["category"], taxonomy), frame["weight"].to_numpy())
    answers = regression.classes_
    weights = np.zeros((len(taxonomy.categories), 1 << bits))
    weights[np.ix_(answers, used)] = regression.coef_ * importance[used]
    intercept = np.full(len(taxonomy.categories), float(regression.intercept_.min()) - 100)
    intercept[answers] = regression.intercept_
    return quantise(weights, importance, intercept)


def calibrate(layer: Linear, held_out: pl.DataFrame, taxonomy: Taxonomy) -> tuple[float, float]:
    """The temperature of least log loss on held-out rows, and the threshold for `ACCURACY`.

    Rows, not distinct texts: confidence has to hold for traffic as it comes.

    Args:
        layer: fitted on earlier rows.
        held_out: `description`, `category`.
        taxonomy: the layer's.
    """
    found = logits(dense(layer), layer.intercept, seen(held_out))
    truth = codes(held_out["category"], taxonomy)

    def loss(logarithm: float) -> float:
        chances = probabilities(found, float(np.exp(logarithm)))
        return -float(np.log(chances[np.arange(truth.size), truth] + 1e-300).mean())

    best = minimize_scalar(loss, bounds=(-3, 3), method="bounded").x
    # Rounded, because the last digits depend on the order of the rows.
    temperature = round(float(np.exp(best)), 3)
    chances = probabilities(found, temperature)
    threshold = accepting(chances.argmax(axis=1) == truth, chances.max(axis=1), ACCURACY)
    return temperature, min(threshold, 1.0)


def build(layer: Linear, taxonomy: Taxonomy, temperature: float, review_below: float) -> Artifact:
    """An artifact without notes, whose version follows from all that decides its answers."""
    digest = hashlib.sha256(repr((taxonomy, temperature, review_below)).encode())
    for numbers in vars(layer).values():
        digest.update(numbers.tobytes())
    return Artifact(
        name=NAME,
        version=f"{FORMAT}-{digest.hexdigest()[:12]}",
        taxonomy=taxonomy,
        layer=layer,
        temperature=temperature,
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
