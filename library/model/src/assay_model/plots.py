"""A report's pictures. Needs matplotlib, which comes with the extra `training`.

Colours are those of Okabe and Ito ("Color Universal Design", 2008), which nobody confuses for
being colour-blind; lines differ in marker and dash as well, so that they survive a copier.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from assay_model.markdown import picture
from assay_model.measures import BINS, FEW, wilson
from assay_model.report import Detail, Report, Section

_STYLES: Final = (("#0072B2", "o", "-"), ("#D55E00", "s", "--"), ("#009E73", "^", "-."))
_GREY: Final = "#777777"
_DPI: Final = 110
_DARK: Final = 0.55  # share from which on a cell is so dark that its number is written white

_Detailed: TypeAlias = tuple[Section, Detail]

# Figures and axes are `Any`: matplotlib's types leave the keywords of their methods open.


def draw(report: Report, folder: Path) -> list[Path]:
    """Draws the sections that have a detail, three at most, into PNG files.

    Args:
        report: to draw.
        folder: exists; files of the same name are replaced.

    Returns:
        The files: `reliability.png`, `coverage.png`, `categories.png`, and a confusion matrix for
        each section, named by `assay_model.markdown.picture`.
    """
    told = [(each, each.detail) for each in report.sections if each.detail][: len(_STYLES)]
    figures = {
        "reliability.png": _reliability(told),
        "coverage.png": _coverage(told),
        "categories.png": _categories(told),
        **{picture(each): _confusion(each, detail) for each, detail in told},
    }
    for name, figure in figures.items():
        # Without the library's version in it, equal pictures are equal bytes a little longer.
        figure.savefig(folder / name, dpi=_DPI, metadata={"Software": None})
    return [folder / name for name in figures]


def _figure(width: float, height: float) -> Any:
    """An empty one, in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def _reliability(told: Sequence[_Detailed]) -> Any:
    figure = _figure(max(4.2, 3.1 * len(told)), 4.6)
    axes = figure.subplots(
        2, len(told), sharex=True, sharey="row", height_ratios=[3, 1], squeeze=False
    )
    for number, (section, detail) in enumerate(told):
        color, marker, _ = _STYLES[number]
        upper, lower = axes[0, number], axes[1, number]
        confidence = [each.confidence for each in detail.reliability]
        accuracy = np.array([each.accuracy for each in detail.reliability])
        rows = np.array([each.rows for each in detail.reliability])
        spans = [wilson(a * n, n) for a, n in zip(accuracy, rows, strict=True)]
        reach = [
            np.clip(accuracy - [each.low for each in spans], 0, None),
            np.clip([each.high for each in spans] - accuracy, 0, None),
        ]
        upper.plot([0, 1], [0, 1], color=_GREY, linestyle=":", linewidth=1)
        upper.errorbar(
            confidence, accuracy, yerr=reach, color=color, marker=marker, markersize=4, linewidth=1
        )
        error = f"{section.figures.calibration_error:.3f}"
        upper.set_title(f"{_two_lines(section.name)}\ncalibration error {error}", fontsize=9)
        least = [each.least for each in detail.reliability]
        lower.bar(least, rows / rows.sum(), width=1 / BINS, align="edge", color=color)
        lower.set_xlabel("confidence", fontsize=9)
        for each in (upper, lower):
            _percents(each)
    axes[0, 0].set_xticks([0.2, 0.4, 0.6, 0.8, 1.0])
    axes[0, 0].set_ylabel("accuracy", fontsize=9)
    axes[1, 0].set_ylabel("rows", fontsize=9)
    axes[0, 0].set_ylim(0, 1)
    axes[0, 0].set_xlim(0, 1)
    return figure


def _coverage(told: Sequence[_Detailed]) -> Any:
    figure = _figure(6.8, 4.2)
    axes = figure.subplots()
    axes.axhline(0.95, color=_GREY, linestyle=":", linewidth=1)
    axes.text(0.005, 0.952, "95 %", color=_GREY, fontsize=8, va="bottom")
    lowest = 0.9
    for (section, detail), (color, marker, dash) in zip(told, _STYLES, strict=False):
        accuracy = [each.accuracy for each in detail.curve]
        lowest = min(lowest, *accuracy)
        axes.plot(
            [each.coverage for each in detail.curve],
            accuracy,
            color=color,
            linestyle=dash,
            label=section.name,
        )
        axes.plot(
            section.figures.accepted,
            section.figures.accepted_accuracy,
            color=color,
            marker=marker,
            markersize=8,
            linestyle="none",
        )
    axes.plot([], [], color=_GREY, marker="o", linestyle="none", label="at the model's threshold")
    axes.set_xlabel("share of rows accepted", fontsize=9)
    axes.set_ylabel("accuracy among them", fontsize=9)
    axes.set_xlim(0, 1)
    axes.set_ylim(max(0, lowest - 0.03), 1.005)
    _percents(axes)
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    return figure


def _categories(told: Sequence[_Detailed]) -> Any:
    first = told[0][1].categories
    names = [each.category for each in sorted(first, key=lambda each: (each.rows, each.category))]
    rows = {each.category: each.rows for each in first}
    figure = _figure(6.8, 1.4 + 0.27 * len(names))
    axes = figure.subplots()
    for (section, detail), (color, marker, _) in zip(told, _STYLES, strict=False):
        f1 = {each.category: each.f1 for each in detail.categories if each.rows}
        few = {each.category for each in detail.categories if each.rows < FEW}
        known = [each for each in names if each in f1]
        axes.scatter(
            [f1[each] for each in known],
            [names.index(each) for each in known],
            marker=marker,
            s=36,
            facecolors=["none" if each in few else color for each in known],
            edgecolors=color,
            zorder=3,
        )
        axes.scatter([], [], marker=marker, s=36, color=color, label=section.name)
    axes.set_yticks(range(len(names)), [f"{each} ({rows[each]:,})" for each in names], fontsize=8)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(f"F1 (hollow: fewer than {FEW} rows; rows of the first split)", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.grid(axis="both", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes.get_legend_handles_labels(),
        fontsize=8,
        frameon=False,
        loc="outside upper center",
        ncols=len(told),
    )
    return figure


def _confusion(section: Section, detail: Detail) -> Any:
    names = [each.category for each in detail.categories]
    rows = {each.category: each.rows for each in detail.categories}
    shares = np.zeros((len(names), len(names)))
    for each in detail.confusion:
        shares[names.index(each.truth), names.index(each.predicted)] = each.share
    side = 2.6 + 0.37 * len(names)
    figure = _figure(side + 0.6, side)
    axes = figure.subplots()
    axes.imshow(shares, cmap=colormaps["Blues"], vmin=0, vmax=1)
    for row, column in np.argwhere(shares >= 0.005):  # noqa: PLR2004 - what rounds to 1 %
        axes.text(
            column,
            row,
            f"{100 * shares[row, column]:.0f}",
            ha="center",
            va="center",
            fontsize=7.5,
            color="white" if shares[row, column] > _DARK else "black",
        )
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), [f"{each} ({rows[each]:,})" for each in names], fontsize=8)
    axes.set_xlabel("answered", fontsize=9)
    axes.set_ylabel("true category (rows)", fontsize=9)
    axes.set_title(f"{section.name}: % of the true category's rows", fontsize=10)
    axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="#dddddd", linewidth=0.6)
    axes.tick_params(which="both", length=0)
    return figure


def _percents(axes: Any) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def _two_lines(name: str) -> str:
    """A long name in two lines, each fit for a narrow panel."""
    if len(name) <= 24:  # noqa: PLR2004 - characters that fit
        return name
    words = name.split(" ")
    cut = min(range(len(words)), key=lambda at: abs(len(" ".join(words[:at])) - len(name) / 2))
    return f"{' '.join(words[:cut])}\n{' '.join(words[cut:])}"
