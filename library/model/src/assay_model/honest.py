"""The evaluation on the training data: what is told of a model, and how each split was made."""

from collections.abc import Callable
from datetime import date
from typing import Final, TypeAlias

import polars as pl

from assay.domain.errors import Fatal
from assay_model.artifact import Artifact
from assay_model.evaluate import judge
from assay_model.predict import Model
from assay_model.report import Section, section
from assay_model.splits import FOLDS, at_random, by_merchant, never_seen

Learn: TypeAlias = Callable[[pl.DataFrame], Model]
"""Trains on rows as `assay_model.corpus.traffic` gives them, in any order, and on these rows alone;
what it needs to calibrate itself it takes from them as well. All that is known here of training."""

_SEEN: Final = (
    (0, 0, "never seen"),
    (1, 1, "seen once"),
    (2, 9, "seen 2 to 9 times"),
    (10, 1 << 62, "seen 10+ times"),
)


def learnt_before(artifact: Artifact, since: date) -> None:
    """Makes sure that a model has learnt nothing of the rows that are to test it.

    Args:
        artifact: its notes say in `fitted` the day of the last row that it learnt (`to`).
        since: the day from which on rows test.

    Raises:
        Fatal: it has, or does not say.
    """
    last = artifact.notes.get("fitted", {}).get("to")
    if last is None or date.fromisoformat(last) >= since:
        raise Fatal(
            f"the model {artifact.version} does not say that it has learnt nothing from {since} "
            "on: its figures on that traffic would be worth nothing"
        )


def honest(
    model: Model,
    traffic: pl.DataFrame,
    since: date,
    learn: Learn,
    progress: Callable[[str], None],
) -> tuple[Section, ...]:
    """Judges a model on what came after its training, and its way of training by merchant.

    Only the first sections touch the rows from `since` on; nothing may be chosen by them.
    Cross-validation is on the rows before, so that it may guide choices.

    Args:
        model: that has learnt the rows before `since`.
        traffic: `date`, `description`, `category`, and what else the model takes.
        since: the day from which on rows test.
        learn: trains as that model was trained.
        progress: told what is being done.
    """
    day = pl.col("date")
    learnt, later = traffic.filter(day < since), traffic.filter(day >= since)
    progress(f"judging {later.height} rows from {since} on")
    return (
        *by_time(model, learnt, later, since),
        *_by_merchant(learnt, since, learn, progress),
        _leaky(learnt, since, learn, progress),
    )


def by_time(model: Model, learnt: pl.DataFrame, later: pl.DataFrame, since: date) -> list[Section]:
    """The sections that need no training: what came after the model's own.

    Args:
        model: that has learnt `learnt`.
        learnt: the rows before `since`.
        later: the others; at least one of a merchant that is not among those learnt.
        since: for the words.
    """
    split = f"learnt before {since}, judged on every row from then on"
    unseen = never_seen(learnt, later)
    sections = [
        section("later traffic", split, judge(model, later)),
        section(
            "merchants never seen",
            f"learnt before {since}, judged on the later rows of merchants without a row before",
            judge(model, unseen),
        ),
    ]
    for rows, words in _by_frequency(model, learnt, later):
        split = f"of the later rows those whose normalised descriptor was {words} before {since}"
        judged = judge(model, rows)
        sections.append(section(f"descriptor {words}", split, judged, detailed=False))
    return sections


def _by_frequency(
    model: Model, learnt: pl.DataFrame, later: pl.DataFrame
) -> list[tuple[pl.DataFrame, str]]:
    """The later rows by how often the model had the same normalised descriptor to learn from."""
    seen = model.predict(learnt.drop("category"))["feature_hash"].value_counts(name="seen")
    times = later.with_columns(
        model.predict(later.drop("category"))["feature_hash"].alias("feature_hash")
    ).join(seen, on="feature_hash", how="left", maintain_order="left")["seen"]
    times = times.fill_null(0).cast(pl.Int64)
    parts = (
        (later.filter((times >= least) & (times <= most)), words) for least, most, words in _SEEN
    )
    return [(rows, words) for rows, words in parts if rows.height]


def _by_merchant(
    rows: pl.DataFrame, since: date, learn: Learn, progress: Callable[[str], None]
) -> list[Section]:
    folds: list[pl.DataFrame] = []
    for number, (known, held_out) in enumerate(by_merchant(rows), start=1):
        progress(f"fold {number} of {FOLDS}: learning {known.height} rows")
        model = learn(known)
        seen = model.predict(held_out.drop("category"))["feature_hash"]
        folds.append(
            judge(model, held_out).with_columns(
                # A merchant is in one fold only, but each fold numbers its own from one.
                pl.col("group", "descriptor").cast(pl.Int64) + number * rows.height,
                seen.is_first_distinct().alias("first"),
            )
        )
    judged = pl.concat(folds)
    split = (
        f"merchant-grouped cross-validation: rows before {since} in {FOLDS} folds by merchant; "
        "learnt from the rows of four, judged on the fifth's distinct descriptions, each counted "
        "once and without its amount"
    )
    once = (
        "of these the first of those that are one and the same when they are normalised; a shop "
        "that prints a new order number each time counts for one"
    )
    return [
        section("merchant folds", split, judged),
        section("merchant folds, normalised", once, judged.filter("first"), detailed=False),
    ]


def _leaky(
    rows: pl.DataFrame, since: date, learn: Learn, progress: Callable[[str], None]
) -> Section:
    known, held_out = at_random(rows)
    progress(f"random rows: learning {known.height}")
    return section(
        "random rows (leaky)",
        f"a fifth of the rows before {since}, drawn at random: most have a twin among the rows "
        "learnt, so this says nothing of new merchants or of later years; shown for comparison "
        "with figures elsewhere",
        judge(learn(known), held_out),
        detailed=False,
    )
