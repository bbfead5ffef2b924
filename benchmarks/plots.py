"""The pictures of a benchmark.

Colours are those of Okabe and Ito ("Color Universal Design", 2008).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import curves
from contest import PRODUCT, memory, own_cpu, rate
from figures import Figure as Run
from found import Contest, Found
from matplotlib.figure import Figure

_OURS: Final = "#0072B2"
_THEIRS: Final = "#999999"
_DPI: Final = 90
_PANELS: Final[dict[str, Callable[[Run], float]]] = {
    "records/s, start included\n(more is better)": rate,
    "own CPU s per 1 M\n(less is better)": own_cpu,
    "memory, MiB\n(less is better)": memory,
}


def draw(found: Found, folder: Path) -> list[Path]:
    """Draws each part that was measured into PNG files.

    Args:
        found: to draw.
        folder: exists; files of the same name are replaced.

    Returns:
        The files: `JOB-API.png` for each section of the contest, and one for each other part.
    """
    drawn: dict[str, Any] = {}
    if found.contest is not None:
        for job, api in found.contest.sections():
            section = found.contest.section(job, api)
            drawn[f"{job}-{api}.png"] = _panels(found.contest, section)
    if found.scaling is not None:
        drawn["scaling.png"] = curves.scaling(found.scaling.runs)
    if found.tables is not None:
        drawn["tables.png"] = curves.tables(found.tables.runs)
    if found.latency is not None:
        drawn["latency.png"] = curves.latency(found.latency.runs)
    for name, figure in drawn.items():
        # Without the library's version in it, equal pictures are equal bytes a little longer.
        figure.savefig(folder / name, dpi=_DPI, metadata={"Software": None})
    return [folder / name for name in drawn]


def _panels(contest: Contest, section: dict[str, list[Run]]) -> Any:
    """A bar for each contender: the median, and the range of its runs."""
    figure: Any = Figure(figsize=(9, 0.9 + 0.42 * len(section)), layout="constrained")
    axes = figure.subplots(1, len(_PANELS), sharey=True)
    names = [contest.setups[way].title for way in section]
    colours = [_OURS if way == PRODUCT else _THEIRS for way in section]
    for axis, (title, value) in zip(axes, _PANELS.items(), strict=True):
        values = [[*map(value, runs)] for runs in section.values()]
        middles = [median(each) for each in values]
        reach = [
            [middle - min(each) for middle, each in zip(middles, values, strict=True)],
            [max(each) - middle for middle, each in zip(middles, values, strict=True)],
        ]
        bars = axis.barh(names, middles, xerr=reach, color=colours, error_kw={"linewidth": 1})
        axis.bar_label(bars, labels=_labels(middles), padding=4, fontsize=7)
        axis.set_title(title, fontsize=8)
        axis.tick_params(labelsize=8)
        axis.margins(x=0.25)
        axis.locator_params(axis="x", nbins=4)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    return figure


def _labels(values: Sequence[float]) -> list[str]:
    return [f"{each:,.0f}" if each >= 100 else f"{each:.1f}" for each in values]  # noqa: PLR2004 - three digits
