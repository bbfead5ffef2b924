"""What contenders did, beside each other, as Markdown."""

from collections.abc import Callable
from statistics import median
from typing import Final

from figures import MILLION, TIMES, Figure, markdown_table, spread
from found import Contest

PRODUCT: Final = "assay"

_TITLES: Final = {
    ("stream", "stub"): "A topic, and an API with a fixed answer",
    ("stream", "model"): "A topic, and the API with its model",
    ("batch", "stub"): "A file, and an API with a fixed answer",
    ("batch", "model"): "A file, and the API with its model",
}
_ABOUT: Final = """\
## Contenders

Every contender does the same work with the same servers on the same machine, one after the other in
turns (A B C, A B C, …), each run on a fresh database and with an API that was started anew.

- **The topic**: {records} messages of JSON on three partitions, read by one consumer → the model
  API over HTTP → two keyed tables of PostgreSQL, what breaks a rule to a dead-letter topic.
- **The file**: as many lines of CSV in S3 (an emulator) → the same API → the same tables, what
  breaks a rule to a table.
- **The data**: a fifth of the descriptions distinct, each equally often; one record of a thousand
  broken, in six ways; ids {ids}.
- **The API** is asked by all in their own best way: the product speaks Arrow, all others JSON, in
  calls as large as suits them. The stub answers the same to everything, over the same protocol.
- **A run counts** once the tables were found to hold what they must: rows in both, rejects, a
  checksum over every stored field, and the same predictions as every other contender.

Figures are medians of {runs} runs ± half of their range. The start of the process, joining the
group and the end count as rates *start included*; *start excluded* is what the process itself says.
*Own CPU* is the contender's with all its processes, *servers' CPU* that of PostgreSQL, broker or
S3, and API. *Memory* is the most that all its processes held together.
"""
_HALF: Final = """
**{titles} does not do the same**:
it fills one table instead of two, asks no API, and holds no record against a rule. Its topic has as
many broken records, but all of them are no JSON, the only fault that it notices. It is checked for
what it does. It is here since many would start with it: read its figures as what half of the work
costs.
"""
_ALONE: Final = """\
### Limits

What one part alone can do here, with nobody else at work: no contender can be quicker than the
slowest of those that it uses. Beside it, what the product reaches of it where it uses that part,
start included. COPY takes rows that were prepared before, sorted by key, a transaction for each
chunk of the product, over one connection. The model is asked by one thread, its API in several
calls at once, which it answers in several threads; the stub is asked in Arrow, as by the product.

"""


def own_cpu(each: Figure) -> float:
    """CPU seconds of the contender for a million records."""
    return each.per_million(each.way)


def servers_cpu(each: Figure) -> float:
    """CPU seconds of all servers for a million records."""
    return (sum(each.cpu.values()) - each.cpu[each.way]) / each.rows * MILLION


def memory(each: Figure) -> float:
    """The most memory of the contender, in MiB."""
    return each.peak / (1 << 20)


def rate(each: Figure) -> float:
    """Records a second, the start included."""
    return each.rate


def without_start(each: Figure) -> float:
    """Records a second, the start excluded."""
    return each.rows / each.inner_seconds


_MEASURES: Final[dict[str, tuple[Callable[[Figure], float], str]]] = {
    "records/s, start included": (rate, ",.0f"),
    "start excluded": (without_start, ",.0f"),
    "own CPU s per 1 M": (own_cpu, ".1f"),
    "servers' CPU s per 1 M": (servers_cpu, ".1f"),
    "memory, MiB": (memory, ",.0f"),
}


def chapters(contest: Contest, pictures: str) -> str:
    """What contenders did, and the limits.

    Args:
        contest: to tell.
        pictures: the folder of `plots.draw`, as a link from the document names it.
    """
    rows = sorted({each.rows for each in contest.runs})
    counts = [len(runs) for at in contest.sections() for runs in contest.section(*at).values()]
    parts = [
        _ABOUT.format(
            records=" or ".join(f"{each:,}" for each in rows),
            ids=contest.about["settings"]["ids"],
            runs=" or ".join(map(str, sorted(set(counts)))),
        )
    ]
    if halves := [each.title for each in contest.setups.values() if each.half]:
        parts.append(_HALF.format(titles=", ".join(halves)).lstrip())
    for job, api in contest.sections():
        parts.append(f"### {_TITLES[job, api]}\n")
        parts.append(f"![Rates, CPU seconds and memory]({pictures}/{job}-{api}.png)\n")
        parts.append(_results(contest, job, api))
        parts.append(_compared(contest, job, api))
    if contest.limits:
        parts.append(_limits(contest))
    return "\n".join(parts)


def _results(contest: Contest, job: str, api: str) -> str:
    section = contest.section(job, api)
    first = median(map(rate, section[PRODUCT]))
    return markdown_table(
        ["contender", *_MEASURES, "the product is quicker by"],
        (
            [
                contest.setups[way].title,
                *(spread([*map(value, runs)], form) for value, form in _MEASURES.values()),
                "" if way == PRODUCT else f"{first / median(map(rate, runs)):.2f} {TIMES}",
            ]
            for way, runs in section.items()
        ),
    )


def _compared(contest: Contest, job: str, api: str) -> str:
    """Where the product is ahead, and where behind; what lies within the ranges is neither."""
    section = contest.section(job, api)
    said: dict[str, list[str]] = {"ahead": [], "behind": [], "level": []}
    for way, runs in section.items():
        if way == PRODUCT:
            continue
        for name, value, is_more_better in (
            ("records/s", rate, True),
            ("own CPU", own_cpu, False),
            ("servers' CPU", servers_cpu, False),
            ("memory", memory, False),
        ):
            ours, theirs = [*map(value, section[PRODUCT])], [*map(value, runs)]
            ratio = median(ours) / median(theirs) if median(theirs) else float("inf")
            overlap = max(min(ours), min(theirs)) <= min(max(ours), max(theirs))
            verdict = "ahead" if (ratio > 1) == is_more_better else "behind"
            said["level" if overlap else verdict].append(
                f"{name} against {contest.setups[way].title} ({ratio:.2f} {TIMES})"
            )
    return "".join(
        f"- The product is **{verdict}** in: {', '.join(each) or 'nothing'}.\n"
        for verdict, each in said.items()
        if each or verdict != "level"
    )


def _is_used(part: str, job: str, api: str) -> bool:
    """Whether the product uses this part where it does this job."""
    if part.startswith("consume"):
        return job == "stream"
    return part not in _OF_API or part in _ASKED[api]


_ASKED: Final = {"model": ("the model", "the model's API"), "stub": ("the stub API",)}
_OF_API: Final = (*_ASKED["model"], *_ASKED["stub"])


def _limits(contest: Contest) -> str:
    rates = {
        each: median(map(rate, contest.section(*each)[PRODUCT]))
        for each in contest.sections()
        if PRODUCT in contest.section(*each)
    }
    heads = [f"product, {job}, {api} API" for job, api in rates]
    return _ALONE + markdown_table(
        ["one part alone", "records/s", *heads],
        (
            [
                each.part,
                spread(each.rates, ",.0f"),
                *(
                    f"{value / median(each.rates):.0%}" if _is_used(each.part, *at) else ""
                    for at, value in rates.items()
                ),
            ]
            for each in contest.limits
        ),
    )


def contenders(contest: Contest) -> str:
    """How each is set up, in words."""
    text = "## How each contender is set up\n"
    for setup in contest.setups.values():
        text += f"\n### {setup.title}\n"
        for about in dict.fromkeys(setup.about.values()):
            text += f"\n{about}\n"
        if setup.packages:
            text += f"\nPackages: {', '.join(f'`{each}`' for each in setup.packages)}.\n"
    return text
