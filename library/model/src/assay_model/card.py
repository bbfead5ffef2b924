"""A model card: what the artifact says of itself, and what the report found."""

from collections.abc import Iterator, Mapping
from importlib import resources
from string import Template
from typing import Any, Final, NamedTuple

from assay_model.artifact import Artifact
from assay_model.markdown import (
    absent,
    bullets,
    confusions,
    figures_table,
    percent,
    splits,
    table,
)
from assay_model.measures import FEW
from assay_model.report import Detail, Report, Section

_WEAK: Final = 0.8
"""A category with a lower F1 is told among the failures."""
_CONFUSIONS: Final = 5


class Described(NamedTuple):
    """The model that a card is about.

    Attributes:
        artifact: its notes have `data` (a list of `file`, `licence`, `attribution` and perhaps
            `sha256`), `fitted` and `calibrated` (`rows`, `from`, `to`; in the latter `accuracy`,
            the share of the accepted that should be right).
        size: of its file, in bytes.
        sha256: of its file.
    """

    artifact: Artifact
    size: int
    sha256: str


def card(report: Report, described: Described) -> str:
    """The card as Markdown; the same artifact and report give the same text.

    Args:
        report: of `assay_model.honest.honest`.
        described: the model that the report is about.
    """
    notes = described.artifact.notes
    (first, detail), (second, unseen), *_ = (
        (each, each.detail) for each in report.sections if each.detail is not None
    )
    template = Template(resources.files("assay_model").joinpath("card.md").read_text("utf-8"))
    return template.substitute(
        model=report.model,
        version=report.version,
        sha256=described.sha256,
        size=f"{described.size / 1e6:.1f} MB",
        categories=len(report.categories),
        taxonomy=report.taxonomy,
        data="\n".join(map(_file, notes["data"])),
        fitted=_extent(notes["fitted"]),
        calibrated=_extent(notes["calibrated"]),
        figures=figures_table(report.sections),
        splits=splits(report.sections),
        review_below=f"{report.review_below:.3f}",
        accuracy=percent(notes["calibrated"]["accuracy"]),
        accepted=_accepted(report),
        first=first.name,
        second=second.name,
        table=_categories(detail, unseen),
        failures=bullets(_failures(report, second, detail, unseen)),
    )


def _file(said: Mapping[str, str]) -> str:
    name, digest = said["file"], said.get("sha256")
    sha256 = f"`{digest[:16]}…`" if digest else "-"
    return f"| `{name}` | {said['licence']} | {said['attribution']} | {sha256} |"


def _extent(said: Mapping[str, Any]) -> str:
    return f"{said['rows']:,} transactions from {said['from']} to {said['to']}"


def _accepted(report: Report) -> str:
    return table(
        "split | accepted | right of these | calibration error",
        (
            (
                each.name,
                percent(each.figures.accepted),
                percent(each.figures.accepted_accuracy),
                f"{each.figures.calibration_error:.3f}",
            )
            for each in report.sections
        ),
    )


def _categories(detail: Detail, unseen: Detail) -> str:
    f1 = {each.category: f"{each.f1:.3f}" for each in unseen.categories if each.rows}
    return table(
        "category | rows | precision | recall | F1 | F1, never seen",
        (
            (
                each.category,
                f"{each.rows:,}",
                percent(each.precision),
                percent(each.recall),
                f"{each.f1:.3f}",
                f1.get(each.category, "-"),
            )
            for each in detail.categories
        ),
    )


def _failures(report: Report, second: Section, detail: Detail, unseen: Detail) -> Iterator[str]:
    figures = second.figures
    name = f"{second.name[:1].upper()}{second.name[1:]}"
    yield (
        f"{name}: {percent(1 - figures.accuracy)} of the rows are wrong, "
        f"{percent(1 - figures.accepted_accuracy)} of those that it accepts, and confidence "
        f"is off by {figures.calibration_error:.2f}."
    )
    weak = [
        f"{each.category} ({each.f1:.2f})"
        for each in sorted(detail.categories, key=lambda each: (each.f1, each.category))
        if each.rows >= FEW and each.f1 < _WEAK
    ]
    if weak:
        yield f"Weak categories, by their F1 on later traffic: {', '.join(weak)}."
    if unmeasured := absent(detail, report.categories):
        yield f"Without a single test row, so not measured: {', '.join(unmeasured)}."
    if few := [each.category for each in detail.categories if 0 < each.rows < FEW]:
        yield f"With fewer than {FEW} test rows, so hardly measured: {', '.join(few)}."
    taken = [
        f"{each.truth} for {each.predicted} ({percent(each.share)})"
        for each in confusions(unseen)[:_CONFUSIONS]
    ]
    yield f"Of merchants never seen it most often takes {'; '.join(taken)}."
