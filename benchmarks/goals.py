"""What was aimed at before it was measured, and how far it was reached, as Markdown."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from contest import PRODUCT, own_cpu, rate
from figures import TIMES, Figure, markdown_table
from found import Contest, Found, middle

_MEGABYTE: Final = 1_000_000
_ABOUT: Final = """\
Set before the work began, when plainer versions of the same peers were measured: a loop gave 5,500
records/s, Quix Streams 11,900, Redpanda Connect 32,700, FastStream 39,800. Here they are set up at
their best, which makes them up to four times as quick: ratios to them are harder to reach.

"""
_STEADY: Final = 2_000  # records a second
_PEERS: Final = {
    ("stream", "plain"): 25.0,
    ("stream", "quix"): 11.0,
    ("stream", "benthos"): 4.0,
    ("stream", "fast"): 3.5,
    ("stream", "connect"): 2.5,
    ("batch", "plain"): 18.0,
    ("batch", "spark"): 4.0,
}
_RATES: Final = {
    ("stream", "stub"): 140_000,
    ("stream", "model"): 80_000,
    ("batch", "stub"): 150_000,
    ("batch", "model"): 100_000,
}


@dataclass(frozen=True)
class _Goal:
    """One of them.

    Attributes:
        what: in words.
        wanted: the number.
        found: what came of it.
        form: how both are written.
        is_most: whether what was found may be this at most; else it must be this at least.
    """

    what: str
    wanted: float
    found: float
    form: Callable[[float], str]
    is_most: bool = False

    @property
    def is_met(self) -> bool:
        """Whether it was reached."""
        return self.found <= self.wanted if self.is_most else self.found >= self.wanted


def chapter(found: Found) -> str:
    """The goals that what was measured says something of, and whether each was met."""
    goals = [*_of_contest(found.contest)] if found.contest is not None else []
    goals += [*_of_warm(found), *_of_latency(found), *_of_fan_out(found)]
    return _ABOUT + markdown_table(
        ["goal", "wanted", "found", ""],
        (
            [
                each.what,
                f"{'at most' if each.is_most else 'at least'} {each.form(each.wanted)}",
                each.form(each.found),
                "met" if each.is_met else "**missed**",
            ]
            for each in goals
        ),
    )


def _times(value: float) -> str:
    return f"{value:.1f} {TIMES}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _thousandths(value: float) -> str:
    return f"{1_000 * value:,.0f} ms"


def _megabytes(value: float) -> str:
    return f"{value / _MEGABYTE:,.0f} MB"


def _of_contest(contest: Contest) -> Iterator[_Goal]:
    for (job, api), wanted in _RATES.items():
        if runs := contest.section(job, api).get(PRODUCT):
            what = f"{job}, {'fixed answers' if api == 'stub' else 'the model'}: records/s"
            yield _Goal(what, wanted, median(map(rate, runs)), _whole)
    for (job, way), wanted in _PEERS.items():
        section = contest.section(job, "stub")
        if PRODUCT in section and way in section:
            ratio = median(map(rate, section[PRODUCT])) / median(map(rate, section[way]))
            yield _Goal(f"{job}: the rate of {contest.setups[way].title}", wanted, ratio, _times)
    stream = contest.section("stream", "stub").get(PRODUCT)
    if stream is None:
        return
    for each in contest.limits:
        if each.part == _COPY:
            share = median(map(rate, stream)) / median(each.rates)
            yield _Goal("stream: of what COPY takes into its tables", 0.65, share, "{:.0%}".format)
    yield _Goal(
        "consumer: CPU seconds of a million records",
        6,
        median(map(own_cpu, stream)),
        _seconds,
        is_most=True,
    )
    yield _Goal("consumer: peak memory", 500 * _MEGABYTE, _peak(stream), _megabytes, is_most=True)


_COPY: Final = "COPY, the product's two tables"


def _peak(runs: Sequence[Figure]) -> float:
    return median(each.peak for each in runs)


def _of_fan_out(found: Found) -> Iterator[_Goal]:
    runs = found.fan_out.runs if found.fan_out is not None else []
    rates = {
        way: median(rate(each) for each in runs if each.way == way)
        for way in dict.fromkeys(each.way for each in runs)
    }
    if "classify" in rates:
        yield _Goal("fan-out, fixed answers: records/s", 80_000, rates["classify"], _whole)
    if {"postgres", "consume"} <= rates.keys():
        ratio = rates["postgres"] / rates["consume"]
        what = "fan-out: the connector to PostgreSQL, of the direct consumer"
        yield _Goal(what, 0.9, ratio, "{:.0%}".format)


def _of_warm(found: Found) -> Iterator[_Goal]:
    runs = found.warm.runs if found.warm is not None else []
    rates = [each.figure.rate for each in runs if each.is_warm and each.traffic == "skewed"]
    if rates:
        what = "stream, the model, warm, descriptions as in real traffic: records/s"
        yield _Goal(what, 90_000, median(rates), _whole)


def _of_latency(found: Found) -> Iterator[_Goal]:
    levels = middle(found.latency.runs) if found.latency is not None else []
    for each in levels:
        if each.share is None and each.rate == _STEADY:
            what = f"latency at {_STEADY:,} records/s:"
            for name, wanted, value in (
                ("half of them", 0.12, each.p50),
                ("99 %", 0.4, each.p99),
                ("99.9 %", 1.0, each.p999),
            ):
                yield _Goal(f"{what} {name}", wanted, value, _thousandths, is_most=True)
