"""The pictures of scaling, table size and latency.

Colours are those of Okabe and Ito ("Color Universal Design", 2008).
"""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, Final

from chapters import LAYOUTS, SERVERS, log_mib
from found import Filled, Level, Scaled, middle
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

_COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
_MILLION: Final = 1e6
_SMALL: Final = 8


def scaling(runs: Sequence[Scaled]) -> Any:
    """Rates, CPU seconds by process, and memory, by partitions and consumers."""
    cases = list(dict.fromkeys((each.partitions, each.consumers) for each in runs))

    def of(value: Callable[[Scaled], float]) -> list[float]:
        return [
            median(value(each) for each in runs if (each.partitions, each.consumers) == case)
            for case in cases
        ]

    figure: Any = Figure(figsize=(9, 1.6 + 0.32 * len(cases)), layout="constrained")
    left, middle, right = figure.subplots(1, 3, sharey=True)
    names = [f"{_counted(one, 'partition')}, {_counted(two, 'consumer')}" for one, two in cases]
    rates = left.barh(names, of(lambda each: each.rate), color=_COLOURS[0])
    left.bar_label(rates, fmt="{:,.0f}", padding=3, fontsize=7)
    left.set_title("records/s, start included\n(more is better)", fontsize=_SMALL)
    begin = [0.0] * len(cases)
    servers = {name: title for name, title in SERVERS.items() if name in runs[0].cpu}
    for colour, (name, title) in zip(
        _COLOURS, {"assay": "consumers", **servers}.items(), strict=False
    ):
        values = of(lambda each, name=name: each.per_million(name))
        middle.barh(names, values, left=begin, color=colour, label=title)
        begin = [one + other for one, other in zip(begin, values, strict=True)]
    for place, each in enumerate(begin):
        middle.annotate(f" {each:.1f}", (each, place), va="center", fontsize=7)
    middle.set_title("CPU s per 1 M records\n(less is better)", fontsize=_SMALL)
    memory = right.barh(names, of(lambda each: max(each.peaks) / (1 << 20)), color=_COLOURS[0])
    right.bar_label(memory, fmt="{:,.0f}", padding=3, fontsize=7)
    right.set_title("memory of a consumer, MiB\n(less is better)", fontsize=_SMALL)
    for axis in (left, middle, right):
        _tidy(axis)
        axis.margins(x=0.25)
        axis.locator_params(axis="x", nbins=4)
        axis.xaxis.set_major_formatter("{x:,.0f}")
    left.invert_yaxis()
    handles, labels = middle.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=7, frameon=False)
    return figure


def tables(runs: Sequence[Filled]) -> Any:
    """Rate, CPU seconds and log, by rows that are there already, a line for each layout."""
    panels: dict[str, Callable[[Filled], float]] = {
        "records/s, start included\n(more is better)": lambda each: each.rate,
        "PostgreSQL, CPU s per 1 M\n(less is better)": lambda each: each.per_million("postgres"),
        "log, MiB per 1 M\n(less is better)": log_mib,
    }
    figure: Any = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, len(panels))
    sizes = sorted({each.present for each in runs})
    layouts = [each for each in LAYOUTS if any(run.layout == each for run in runs)]
    for axis, (title, value) in zip(axes, panels.items(), strict=True):
        for colour, marker, layout in zip(_COLOURS, "osD", layouts, strict=False):
            groups = [
                [value(run) for run in runs if (run.layout, run.present) == (layout, size)]
                for size in sizes
            ]
            known = [(s / _MILLION, g) for s, g in zip(sizes, groups, strict=True) if g]
            middles = [median(group) for _, group in known]
            axis.errorbar(
                [size for size, _ in known],
                middles,
                yerr=[
                    [m - min(g) for m, (_, g) in zip(middles, known, strict=True)],
                    [max(g) - m for m, (_, g) in zip(middles, known, strict=True)],
                ],
                color=colour,
                marker=marker,
                markersize=4,
                linewidth=1.2,
                capsize=2,
                label=LAYOUTS[layout],
            )
        axis.set_title(title, fontsize=_SMALL)
        axis.set_xlabel("rows before, millions", fontsize=_SMALL)
        axis.margins(y=0.1)
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter("{x:,.0f}")
        _tidy(axis)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    return figure


def latency(runs: Sequence[Level]) -> Any:
    """Seconds from due to committed, by rate."""
    runs = middle(runs)
    lines: dict[str, Callable[[Level], float]] = {
        "half of the records": lambda each: each.p50,
        "99 %": lambda each: each.p99,
        "99.9 %": lambda each: each.p999,
        "all": lambda each: each.highest,
    }
    figure: Any = Figure(figsize=(7, 3.4), layout="constrained")
    axis = figure.subplots()
    names = [
        f"{each.rate:,.0f}" + ("" if each.share is None else f"\n({each.share:.0%})")
        for each in runs
    ]
    places = range(len(runs))
    for colour, marker, (title, value) in zip(_COLOURS, "osD^", lines.items(), strict=True):
        values = [value(each) for each in runs]
        axis.plot(places, values, color=colour, marker=marker, label=title, lw=1.2)
    late = [each.late_highest for each in runs]
    axis.plot(places, late, color="#999999", ls=":", label="producer late, at most")
    axis.set_xticks(places, names)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.minorticks_off()
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_ylabel("seconds from due to committed", fontsize=_SMALL)
    axis.set_xlabel("records/s (share of the highest rate)", fontsize=_SMALL)
    axis.grid(axis="y", color="#dddddd", linewidth=0.6)
    _tidy(axis)
    figure.legend(loc="outside right center", fontsize=7, frameon=False)
    return figure


def _tidy(axis: Any) -> None:
    axis.tick_params(labelsize=_SMALL)
    axis.spines[["top", "right"]].set_visible(False)


def _counted(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
