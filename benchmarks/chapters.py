"""Scaling, table size and latency, as Markdown: what they show is computed from the figures."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final, TypeVar

from figures import TIMES, Figure, markdown_table, spread
from found import SPANS, Filled, Level, Part, Repeated, Scaled, Warmed, middle

SERVERS: Final = {"postgres": "PostgreSQL", "api": "model API", "kafka": "Kafka"}
LAYOUTS: Final = {
    "plain": "one table",
    "hash": "by hash of the id",
    "month": "by month",
}

_MIB: Final = 1 << 20
_SHARED: Final = 1.6  # times its fair share, from which one consumer has done too much of the work
_BEHIND: Final = 1.0  # seconds behind at the end, from which a rate counts as not kept up
_SCALING: Final = """\
Processes of one group, started at the same moment, read a full topic; an API of one process and one
PostgreSQL serve all of them. Rates count from the start of the first process to the last row. *CPU*
is in seconds per million records; that of the consumers is of all of them together, without what
their start and end take on an empty topic ({start:.1f} s each). *Busiest* is the share of the
records that one consumer has read: the first to be there has all partitions until the others are.
*Memory* is the most that one process held; of a server, all its processes, shared memory once. A
run counts once the tables were found to hold what they must. Medians of {runs} runs ± half of their
range, {api} API.

"""
_TABLES: Final = """\
{records} records, with ids that follow no order, go into tables that hold rows already: copies of
such records under other ids, spread over a year. What comes is of the latest month, the API is a
{api} API. Assay supports one table of each; {others}:

{layouts}
*CPU* of PostgreSQL is in seconds per million records; *log* is what it wrote ahead for them (WAL).
A run begins after a checkpoint: each page that it touches for the first time is logged as a whole.
Bytes per row are of both tables together, after the run. Medians of {runs} runs ± half of their
range.

"""
_OTHERS: Final = "other ways were made here alone, to see what they would bring"
_CUT: Final = {
    "plain": """\
- **one table**: as `assay migrate` makes it.
""",
    "hash": """\
- **by hash of the id**: `transactions` are cut into sixteen by a hash of `transaction_id`, and
  `predictions` by one of the number that they name their transaction by. The keys stay as they are,
  so that all promises hold. Old rows cannot be dropped by the partition.
""",
    "month": """\
- **by month**: by `timestamp`, and `predictions` by `created_at`. PostgreSQL wants that column in
  the key, which is weaker then: an id that comes again with another time is no conflict, but a
  second transaction, and a model may say the same of a transaction twice. Whole months can be
  dropped.
""",
}
_DUPLICATES: Final = """\
One consumer reads a full topic of {records} records; after so many of them one comes once more that
is on the topic already, with the same content: fifty records take turns, those whose ids sort
before all others or after them. Rows are copied in the order of their ids, so that a known one is
found at the beginning of a chunk's copy or at its end; then the chunk is copied anew without it,
and before the next one the table is asked for known ids. *CPU* is in seconds per million records. A
run counts once the tables were found to hold each record once, and the ledger to count the others
as duplicates. Medians of {runs} runs ± half of their range, {api} API.

Where duplicates come in every chunk, the table is asked before each, and few chunks are copied
twice. Where they come now and then, they come unasked. What is a third duplicates is a third less
to write.

"""
_MEMORY: Final = """\
One consumer reads topics of several lengths, each into an empty database; an API of fixed answers.

"""
_FAN_OUT: Final = """\
One process at a time, each over a full topic: `stream consume` and `stream classify` read {records}
records of one day and ask an API of fixed answers, the connectors read the predictions that `stream
classify` has put on its topic. Each runs until nothing is left, its start included. *CPU* is in
seconds per million records. A run counts once its target was found to hold what was sent:
PostgreSQL by count and checksum, the others by count. `archive` and `lake` wait for a second, not
a minute, for the last file to grow. Medians of {runs} runs ± half of their range.

"""
_WARM: Final = """\
One consumer reads a full topic of {records} records, of whose descriptions a fifth are distinct,
with the model's API. They come *equally often*, as in all other parts, which is the hardest for a
memory of what was asked before; or *a few very often*, as in real traffic (Zipf's law, of exponent
1.1).
*Cold* is an API that was just started, *warm* the same one when the records come once more. *CPU*
is in seconds per million records. Medians of {runs} runs ± half of their range.

"""
_LATENCY: Final = """\
One consumer with default settings, one process that produces at a steady rate, a topic of three
partitions, {api} API. Each record counts from when it was due, so that a producer that is late does
not hide how long others waited, to the first look that found its row committed (a look each 5 ms).
The first {warm:.0f} s do not count. Medians of {runs} runs ± half of their range.

"""

_T = TypeVar("_T")
_K = TypeVar("_K")


def scaling(part: Part[Scaled], pictures: str) -> str:
    """The chapter of scaling."""
    cases = _grouped(part.runs, lambda each: (each.partitions, each.consumers))
    text = _SCALING.format(
        start=median(each.start / each.consumers for each in part.runs),
        runs=_counts(cases.values()),
        api=" or ".join(dict.fromkeys(each.api for each in part.runs)),
    )
    text += f"![Rates, CPU seconds and memory]({pictures}/scaling.png)\n\n"
    servers = {name: title for name, title in SERVERS.items() if name in part.runs[0].cpu}
    text += markdown_table(
        [
            "partitions, consumers",
            "records/s",
            "busiest",
            "CPU, consumers",
            *(f"CPU, {title}" for title in servers.values()),
            "memory of a consumer, MiB",
            *(f"{title}, MiB" for title in servers.values()),
        ],
        (
            [
                f"{partitions}, {consumers}",
                _of(runs, lambda each: each.rate, ",.0f"),
                _of(runs, lambda each: max(each.read) / each.rows, ".0%"),
                *(
                    _of(runs, lambda each, name=name: each.per_million(name), ".1f")
                    for name in ("assay", *servers)
                ),
                _of(runs, lambda each: max(each.peaks) / _MIB, ",.0f"),
                *(
                    _of(runs, lambda each, name=name: each.held[name] / _MIB, ",.0f")
                    for name in servers
                ),
            ]
            for (partitions, consumers), runs in cases.items()
        ),
    )
    return text + "\n" + "".join(f"- {each}\n" for each in _scaled(cases))


def _scaled(cases: dict[tuple[int, int], list[Scaled]]) -> Iterable[str]:
    for partitions in dict.fromkeys(each for each, _ in cases):
        counts = sorted(consumers for each, consumers in cases if each == partitions)
        first, last = cases[partitions, counts[0]], cases[partitions, counts[-1]]
        if first is last:
            continue

        def ratio(
            value: Callable[[Scaled], float],
            first: Sequence[Scaled] = first,
            last: Sequence[Scaled] = last,
        ) -> str:
            return _ratio(median(map(value, last)), median(map(value, first)))

        yield (
            f"On {partitions} partitions, {counts[-1]} consumers in place of {counts[0]}:"
            f" {ratio(lambda each: each.rate)} the rate on the same cores;"
            f" per million records {ratio(lambda each: each.per_million('assay'))} the consumers'"
            f" CPU and {ratio(all_cpu)} that of all processes."
        )
    for (partitions, consumers), runs in cases.items():
        busiest = median(max(each.read) / each.rows for each in runs)
        if busiest > _SHARED / consumers and consumers > 1:
            yield (
                f"With {consumers} consumers on {partitions} partitions one of them has read"
                f" {busiest:.0%}: **the work was hardly shared**; more --records would be."
            )
    yield (
        "The last figure is what carries over, as far as it is no noise: where consumers have cores"
        " of their own, and API and PostgreSQL as many as they need, the rate grows as their number"
        " over it."
    )


def all_cpu(each: Scaled) -> float:
    """CPU seconds of a million records, of consumers and servers together."""
    return sum(map(each.per_million, each.cpu))


def tables(part: Part[Filled], pictures: str) -> str:
    """The chapter of table size."""
    cases = _grouped(part.runs, lambda each: (each.layout, each.present))
    layouts = dict.fromkeys(layout for layout, _ in cases)
    text = _TABLES.format(
        records=f"{part.runs[0].rows:,}",
        runs=_counts(cases.values()),
        api=part.about["settings"]["api"],
        others=_OTHERS if len(layouts) > 1 else "as here",
        layouts="".join(_CUT[each] for each in layouts),
    )
    text += f"![Rate, CPU seconds and log by rows]({pictures}/tables.png)\n\n"
    text += markdown_table(
        [
            "tables, rows before",
            "records/s",
            "CPU, PostgreSQL",
            "log, MiB per 1 M",
            "bytes per row, tables",
            "indexes",
        ],
        (
            [
                f"{LAYOUTS[layout]}, {present:,}",
                _of(runs, lambda each: each.rate, ",.0f"),
                _of(runs, lambda each: each.per_million("postgres"), ".1f"),
                _of(runs, log_mib, ",.0f"),
                _of(runs, lambda each: each.heap / each.stored, ".0f"),
                _of(runs, lambda each: each.indexes / each.stored, ".0f"),
            ]
            for (layout, present), runs in cases.items()
        ),
    )
    return text + "\n" + "".join(f"- {each}\n" for each in _filled(cases))


def log_mib(each: Filled) -> float:
    """MiB that PostgreSQL logs for a million records."""
    return each.wal / each.rows * 1e6 / _MIB


def _filled(cases: dict[tuple[str, int], list[Filled]]) -> Iterable[str]:
    most = max(present for _, present in cases)

    def compared(last: Sequence[Filled], first: Sequence[Filled]) -> str:
        values: dict[str, Callable[[Filled], float]] = {
            "PostgreSQL's CPU": lambda each: each.per_million("postgres"),
            "the log": log_mib,
            "the rate": lambda each: each.rate,
        }
        found = [
            f"{_ratio(median(map(value, last)), median(map(value, first)))} {name}"
            for name, value in values.items()
        ]
        return f"{', '.join(found[:-1])} and {found[-1]}"

    for layout, title in LAYOUTS.items():
        if most and (layout, most) in cases and (layout, 0) in cases:
            said = compared(cases[layout, most], cases[layout, 0])
            yield f"{title.capitalize()}: {most:,} rows before, against none: {said}."
    for layout, title in LAYOUTS.items():
        if layout != "plain" and (layout, most) in cases and ("plain", most) in cases:
            said = compared(cases[layout, most], cases["plain", most])
            yield f"{title.capitalize()}, against one table, with {most:,} rows before: {said}."


def duplicates(part: Part[Repeated]) -> str:
    """The chapter of duplicates."""
    cases = _grouped(part.runs, lambda each: (each.every, each.sorts))
    text = _DUPLICATES.format(
        records=f"{part.runs[0].figure.rows - part.runs[0].again:,}",
        runs=_counts(cases.values()),
        api=part.about["settings"]["api"],
    )
    plain = median(each.figure.rate for each in next(iter(cases.values())))
    return text + markdown_table(
        [
            "comes again",
            "records/s",
            "of the rate without",
            "new ones/s",
            "CPU, consumer",
            "CPU, PostgreSQL",
        ],
        (
            [
                f"one of {every:,}, sorts {sorts}" if every else "nothing",
                _of(runs, lambda each: each.figure.rate, ",.0f"),
                f"{median(each.figure.rate for each in runs) / plain:.0%}",
                f"{median(map(_new, runs)):,.0f}",
                *(
                    _of(runs, lambda each, name=name: each.figure.per_million(name), ".1f")
                    for name in ("assay", "postgres")
                ),
            ]
            for (every, sorts), runs in cases.items()
        ),
    )


def _new(run: Repeated) -> float:
    """Records a second that came for the first time."""
    return (run.figure.rows - run.again) / run.figure.seconds


def memory(part: Part[Figure]) -> str:
    """The chapter of memory."""
    cases = _grouped(part.runs, lambda each: each.rows)
    first = median(each.peak for each in next(iter(cases.values())))
    return _MEMORY + markdown_table(
        ["records", "peak memory, MiB", "against the first", "records/s"],
        (
            [
                f"{rows:,}",
                _of(runs, lambda each: each.peak / _MIB, ",.0f"),
                f"{median(each.peak for each in runs) / first - 1:+.0%}",
                _of(runs, lambda each: each.rate, ",.0f"),
            ]
            for rows, runs in cases.items()
        ),
    )


def warm(part: Part[Warmed]) -> str:
    """The chapter of a model's API that remembers."""
    cases = _grouped(part.runs, lambda each: (each.traffic, each.is_warm))
    text = _WARM.format(records=f"{part.runs[0].figure.rows:,}", runs=_counts(cases.values()))
    return text + markdown_table(
        ["descriptions come, API", "records/s", "CPU, consumer", "CPU, model API"],
        (
            [
                f"{_TRAFFIC[traffic]}, {'warm' if is_warm else 'cold'}",
                _of(runs, lambda each: each.figure.rate, ",.0f"),
                *(
                    _of(runs, lambda each, name=name: each.figure.per_million(name), ".1f")
                    for name in ("assay", "api")
                ),
            ]
            for (traffic, is_warm), runs in cases.items()
        ),
    )


def fan_out(part: Part[Figure]) -> str:
    """The chapter of the classifier from topic to topic, and of the connectors."""
    cases = _grouped(part.runs, lambda each: each.way)
    direct = median(each.rate for each in cases["consume"])
    text = _FAN_OUT.format(records=f"{part.runs[0].rows:,}", runs=_counts(cases.values()))
    return text + markdown_table(
        ["", "records/s", "of `consume`", "own CPU", "Kafka's CPU", "peak memory, MiB"],
        (
            [
                f"`{_COMMANDS.get(way, f'connect {way}')}`",
                _of(runs, lambda each: each.rate, ",.0f"),
                _ratio(median(each.rate for each in runs), direct),
                *(
                    _of(runs, lambda each, name=name: each.per_million(name), ".1f")
                    for name in ("own", "kafka")
                ),
                _of(runs, lambda each: each.peak / _MIB, ",.0f"),
            ]
            for way, runs in cases.items()
        ),
    )


_COMMANDS: Final = {"consume": "stream consume", "classify": "stream classify"}
_TRAFFIC: Final = {"even": "equally often", "skewed": "a few very often"}


def latency(part: Part[Level], pictures: str) -> str:
    """The chapter of latency."""
    settings = part.about["settings"]
    cases = _grouped(part.runs, lambda each: (each.rate, each.share))
    text = _LATENCY.format(warm=settings["warm"], api=settings["api"], runs=_counts(cases.values()))
    text += f"![Seconds from due to committed, by rate]({pictures}/latency.png)\n\n"
    text += markdown_table(
        [
            "records/s",
            "of the highest rate",
            "p50, s",
            "p99",
            "p99.9",
            "highest",
            "producer late, p99",
            "highest",
        ],
        (
            [
                f"{rate:,.0f}",
                "" if share is None else f"{share:.0%}",
                *(
                    _of(runs, lambda each, name=name: getattr(each, name), ".3f")
                    for name in SPANS[:6]
                ),
            ]
            for (rate, share), runs in cases.items()
        ),
    )
    said = _waited(middle(part.runs), measured=settings["maximum"] == "measured")
    return text + "\n" + "".join(f"- {each}\n" for each in said)


def kept_up(each: Level) -> bool:
    """Whether records did not wait longer and longer: the last ones not longest of all."""
    return each.behind < max(_BEHIND, 0.9 * each.highest)


def _waited(runs: Sequence[Level], *, measured: bool) -> Iterable[str]:
    if highest := next((each.maximum for each in runs if each.maximum is not None), None):
        where = "is what one consumer commits while more is produced on the same cores"
        yield f"The highest rate, {highest:,.0f} records/s, {where if measured else 'was given'}."
    for each in runs:
        of = "" if each.share is None else f" ({each.share:.0%})"
        kept = "" if kept_up(each) else "; **it was not kept up**, and they waited ever longer"
        yield (
            f"At {each.rate:,.0f} records/s{of} half of them are committed within {each.p50:.2f} s"
            f" of when they were due, and 99.9 % within {each.p999:.2f} s{kept}."
        )
    worst = max(runs, key=lambda each: each.late_highest)
    yield (
        f"The producer was {worst.late_highest:.3f} s late at most, at {worst.rate:,.0f} records/s;"
        " that is part of the figures."
    )


def _grouped(runs: Iterable[_T], key: Callable[[_T], _K]) -> dict[_K, list[_T]]:
    found: dict[_K, list[_T]] = {}
    for each in runs:
        found.setdefault(key(each), []).append(each)
    return found


def _of(runs: Iterable[_T], value: Callable[[_T], float], form: str) -> str:
    return spread([*map(value, runs)], form)


def _counts(groups: Iterable[Sequence[object]]) -> str:
    return " or ".join(map(str, sorted(set(map(len, groups)))))


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f} {TIMES}" if other else "?"
