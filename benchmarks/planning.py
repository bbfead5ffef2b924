"""What a deployment needs for so many records a day, by what a million was found to cost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Final

from chapters import all_cpu
from figures import MILLION, markdown_table
from found import Filled, Found, Scaled

from assay_adapters.postgres.config import PostgresConfig
from assay_local import LocalError

BUSY: Final = 0.7
"""How much of a core is to be in use at the peak: the rest is for what cannot be foreseen."""

KEPT: Final = 365
"""Days that rows are kept, unless others are named."""

PEAK: Final = 4.0
"""How many times as many records as on average come in the busiest minutes, unless it is named."""

_DAY: Final = 86_400
_SHOWN: Final = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
_LEAST_PARTITIONS: Final = 3
_BY_CONSUMER: Final = 2  # partitions, so that their number may be doubled
_POOL: Final[int] = PostgresConfig.model_fields["pool_size"].default
_NOTHING: Final = "Not measured yet: {}.\n"


@dataclass(frozen=True)
class Costs:
    """What was measured, as far as a plan needs it.

    Attributes:
        cpu: CPU seconds of a million records, by process; `assay` is the consumers.
        memory: the most that one process held, in bytes, by process.
        heap: bytes of a row in both tables together.
        indexes: bytes of it in their indexes.
        wal: bytes that PostgreSQL logs for it.
        present: rows that the tables held when PostgreSQL was measured.
    """

    cpu: dict[str, float]
    memory: dict[str, int]
    heap: float
    indexes: float
    wal: float
    present: int


@dataclass(frozen=True)
class Plan:
    """What is needed.

    Attributes:
        per_day: records.
        rate: records a second on average.
        peak_rate: records a second in the busiest minutes.
        consumers: processes, of a core each, and of a core of PostgreSQL each: a consumer commits
            over one connection.
        api_processes: of the model API.
        partitions: of the topic.
        cores: at the peak, by process.
        connections: to PostgreSQL, at most.
        memory: bytes of all processes of a kind together.
        days: that rows are kept.
        rows: of each table when so many days are kept.
        disk: bytes of tables and indexes when so many days are kept.
        indexes: bytes of these, the indexes.
        wal: bytes that are logged on a day.
        wal_rate: bytes that are logged in a second at the peak.
    """

    per_day: int
    rate: float
    peak_rate: float
    consumers: int
    api_processes: int
    partitions: int
    cores: dict[str, float]
    connections: int
    memory: dict[str, int]
    days: int
    rows: int
    disk: float
    indexes: float
    wal: float
    wal_rate: float


def costs(found: Found) -> Costs:
    """What a million records cost, where it was measured at its dearest.

    Of consumers, API and Kafka that is the case of scaling that took most CPU seconds in all; of
    PostgreSQL the largest table that is kept as `assay migrate` makes it.

    Raises:
        LocalError: it was not measured; says how it is.
    """
    runs = [each for each in found.scaling.runs if each.api == "model"] if found.scaling else []
    plain = [each for each in found.tables.runs if each.layout == "plain"] if found.tables else []
    if not (runs and plain):
        missing = "tables" if runs else "scaling"  # with their defaults
        raise LocalError(f"a plan needs figures of `poe bench {missing} --out docs`")
    cases: dict[tuple[int, int], list[Scaled]] = {}
    for each in runs:
        cases.setdefault((each.partitions, each.consumers), []).append(each)
    dearest = max(cases.values(), key=lambda runs: median(map(all_cpu, runs)))
    present = max(each.present for each in plain)
    filled = [each for each in plain if each.present == present]

    def of(value: Callable[[Filled], float]) -> float:
        return median(map(value, filled))

    cpu = {
        name: median(each.per_million(name) for each in dearest)
        for name in dearest[0].cpu
        if name != "postgres"
    }
    return Costs(
        cpu={**cpu, "postgres": of(lambda each: each.per_million("postgres"))},
        memory={
            "assay": max(max(each.peaks) for each in runs),
            "api": max(each.held["api"] for each in runs),
        },
        heap=of(lambda each: each.heap / each.stored),
        indexes=of(lambda each: each.indexes / each.stored),
        wal=of(lambda each: each.wal / each.rows),
        present=present,
    )


def plan(cost: Costs, per_day: int, *, peak: float = PEAK, days: int = KEPT) -> Plan:
    """What so many records a day need."""
    rate = per_day / _DAY
    cores = {name: rate * peak * each / MILLION / BUSY for name, each in cost.cpu.items()}
    consumers = _whole(max(cores["assay"], cores["postgres"]))
    api = _whole(cores["api"])
    kept = per_day * days
    return Plan(
        per_day=per_day,
        rate=rate,
        peak_rate=rate * peak,
        consumers=consumers,
        api_processes=api,
        partitions=max(_LEAST_PARTITIONS, _BY_CONSUMER * consumers),
        cores=cores,
        connections=_POOL * (consumers + 1),
        memory={"assay": consumers * cost.memory["assay"], "api": api * cost.memory["api"]},
        days=days,
        rows=kept,
        disk=kept * (cost.heap + cost.indexes),
        indexes=kept * cost.indexes,
        wal=per_day * cost.wal,
        wal_rate=rate * peak * cost.wal,
    )


def _whole(cores: float) -> int:
    # Rounded before: a last digit too much is no process.
    return max(1, ceil(round(cores, 6)))


def warning(cost: Costs) -> str:
    """What is to be said of plans whose tables are larger than any that was measured."""
    return (
        f"PostgreSQL was measured with {cost.present:,} rows in each table. Where more are kept,"
        " its cores and its log are the least that is to be expected: both had grown up to there,"
        " and how they go on depends on its memory and its disks."
    )


_LINES: Final[dict[str, Callable[[Plan], str]]] = {
    "records/s on average": lambda each: f"{each.rate:,.0f}",
    "records/s at the peak": lambda each: f"{each.peak_rate:,.0f}",
    "consumers": lambda each: str(each.consumers),
    "processes of the model API": lambda each: str(each.api_processes),
    "partitions of the topic": lambda each: str(each.partitions),
    "cores, consumers": lambda each: _cores(each, "assay"),
    "cores, model API": lambda each: _cores(each, "api"),
    "cores, PostgreSQL": lambda each: _cores(each, "postgres"),
    "cores, Kafka": lambda each: _cores(each, "kafka"),
    "connections to PostgreSQL": lambda each: str(each.connections),
    "memory, consumers": lambda each: size(each.memory["assay"]),
    "memory, model API": lambda each: size(each.memory["api"]),
    "rows at the end": lambda each: f"{each.rows:,}",
    "disk, tables and indexes": lambda each: size(each.disk),
    "of these, indexes": lambda each: size(each.indexes),
    "log (WAL) a day": lambda each: size(each.wal),
    "log a second at the peak": lambda each: size(each.wal_rate),
}


def lines(plans: Sequence[Plan]) -> Iterable[list[str]]:
    """Each thing that is needed, and how much of it in each plan."""
    for name, value in _LINES.items():
        yield [name, *map(value, plans)]


def page(found: Found) -> str:
    """What the page on planning tells: what was measured, and plans by it. Equal: equal text."""
    try:
        cost = costs(found)
    except LocalError as missing:
        return _NOTHING.format(missing)
    rows = [
        ("CPU s of 1 M records, consumers", f"{cost.cpu['assay']:.1f}"),
        ("CPU s, model API", f"{cost.cpu['api']:.1f}"),
        (f"CPU s, PostgreSQL with {cost.present:,} rows", f"{cost.cpu['postgres']:.1f}"),
        ("CPU s, Kafka", f"{cost.cpu['kafka']:.1f}"),
        ("memory of a consumer", size(cost.memory["assay"])),
        ("memory of the model API", size(cost.memory["api"])),
        ("disk of 1 M rows, both tables", size(MILLION * cost.heap)),
        ("disk of 1 M rows, their indexes", size(MILLION * cost.indexes)),
        ("log (WAL) of 1 M records", size(MILLION * cost.wal)),
    ]
    plans = [plan(cost, each) for each in _SHOWN]
    heads = [f"{each:,}" for each in _SHOWN]
    return (
        f"What was measured:\n\n{markdown_table(['', 'measured'], rows)}\n"
        f"With a peak of {PEAK:.0f} times the average, and rows kept for {KEPT} days:\n\n"
        f"{markdown_table(['records a day', *heads], lines(plans))}\n"
        f"{warning(cost)} Memory is the most of any run.\n"
    )


def size(value: float) -> str:
    """Bytes, as people write them."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":  # noqa: PLR2004 - of one unit in the next
            break
        value /= 1024
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"  # noqa: PLR2004 - two digits


def _cores(each: Plan, name: str) -> str:
    return (
        f"{max(0.01, each.cores[name]):.2f}"
        if each.cores[name] < 1
        else (f"{each.cores[name]:.1f}")
    )
