"""A report on a model: sections of figures, each with the split that they hold for.

It names categories and counts, and holds nothing of a record.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import polars as pl
from pydantic import TypeAdapter

from assay_model.evaluate import Figures, figures, judge, rounded
from assay_model.measures import by_category, confusion, costs, curve, reliability, wilson
from assay_model.predict import Model


@dataclass(frozen=True)
class Category:
    """One line of the table of categories; see `assay_model.measures.by_category`.

    `recall_low` and `recall_high` take rows for independent (`wilson`).
    """

    category: str
    rows: int
    answered: int
    precision: float | None
    recall: float | None
    recall_low: float
    recall_high: float
    f1: float
    confidence: float | None


@dataclass(frozen=True)
class Bin:
    """Confidence against accuracy within a bin; see `assay_model.measures.reliability`."""

    least: float
    rows: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Point:
    """What a threshold accepts; see `assay_model.measures.curve`."""

    threshold: float
    coverage: float
    accuracy: float


@dataclass(frozen=True)
class Confusion:
    """A cell of the confusion matrix; see `assay_model.measures.confusion`."""

    truth: str
    predicted: str
    rows: int
    share: float


@dataclass(frozen=True)
class Cost:
    """What lies in a wrong category, by amount; see `assay_model.measures.costs`."""

    currency: str | None
    amount: float
    wrong: float
    accepted: float
    accepted_wrong: float


@dataclass(frozen=True)
class Detail:
    """What stands behind a section's figures."""

    categories: tuple[Category, ...]
    reliability: tuple[Bin, ...]
    curve: tuple[Point, ...]
    confusion: tuple[Confusion, ...]
    costs: tuple[Cost, ...]


@dataclass(frozen=True)
class Section:
    """Figures with the split that they hold for.

    Attributes:
        name: in a few words.
        split: what the model had learnt, and which rows it was judged on.
        figures: of all rows.
        detail: of the same; None where the figures are enough.
    """

    name: str
    split: str
    figures: Figures
    detail: Detail | None = None


@dataclass(frozen=True)
class Report:
    """What was found about one model.

    Attributes:
        model: its name.
        version: its version.
        taxonomy: name and version.
        categories: of the taxonomy.
        review_below: the confidence below which its answers need a review.
        given: the columns that it was given; it need not use all of them.
        sections: the first one is what the report is about.
        left_out: how many rows were not judged, by the reason.
    """

    model: str
    version: str
    taxonomy: str
    categories: tuple[str, ...]
    review_below: float
    given: tuple[str, ...]
    sections: tuple[Section, ...]
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])


_REPORT: Final = TypeAdapter(Report)


def report(
    model: Model, given: pl.DataFrame, sections: tuple[Section, ...], left_out: Mapping[str, int]
) -> Report:
    """A report on a model.

    Args:
        model: that was judged.
        given: rows as it was given them, with their label.
        sections: what was found.
        left_out: see `Report`.
    """
    return Report(
        model=model.name,
        version=model.version,
        taxonomy=f"{model.taxonomy.name} {model.taxonomy.version}",
        categories=model.taxonomy.categories,
        review_below=rounded(model.artifact.review_below),
        given=tuple(name for name in given.columns if name not in {"category", "date"}),
        sections=sections,
        left_out=left_out,
    )


def judged_on(model: Model, rows: pl.DataFrame, name: str, split: str) -> Section:
    """A section on labelled rows.

    Args:
        model: to judge.
        rows: see `assay_model.evaluate.judge`; at least one.
        name: see `Section`.
        split: see `Section`.
    """
    return section(name, split, judge(model, rows))


def section(name: str, split: str, judged: pl.DataFrame, *, detailed: bool = True) -> Section:
    """A section on judged rows, of which there is at least one.

    Args:
        name: see `Section`.
        split: see `Section`.
        judged: see `assay_model.evaluate.judge`.
        detailed: whether it has a detail.
    """
    return Section(name, split, figures(judged), _detail(judged) if detailed else None)


def _detail(judged: pl.DataFrame) -> Detail:
    right = (judged["truth"] == judged["predicted"]).to_numpy()
    confidence = judged["confidence"].to_numpy()
    return Detail(
        categories=tuple(map(_category, _rows(by_category(judged)))),
        reliability=tuple(Bin(**row) for row in _rows(reliability(right, confidence))),
        curve=tuple(Point(**row) for row in _rows(curve(right, confidence))),
        confusion=tuple(Confusion(**row) for row in _rows(confusion(judged))),
        costs=tuple(Cost(**row) for row in _rows(costs(judged))),
    )


def _category(row: dict[str, Any]) -> Category:
    interval = wilson(row["hits"], row["rows"])
    del row["hits"]
    return Category(**row, recall_low=rounded(interval.low), recall_high=rounded(interval.high))


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.with_columns(pl.col(pl.Float64).round(6)).to_dicts()


def to_json(report: Report) -> str:
    """The report as a JSON document; equal reports give equal text."""
    return json.dumps(asdict(report), indent=1, ensure_ascii=False)


def from_json(document: str) -> Report:
    """The report that `to_json` wrote."""
    return _REPORT.validate_json(document)
