"""The figures of a benchmark, and how they are shown."""

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from math import isnan, nan
from statistics import median
from typing import Any, Final

import psutil
import psycopg
from rich import box
from rich.console import Console
from rich.table import Table

from assay_batch.config import BatchConfig
from assay_local import Local
from assay_ml_api.config import ServerConfig
from assay_streaming.config import StreamConfig

MEMORY_SPREAD: Final = 0.1
MILLION: Final = 1_000_000
_TWO: Final = 2  # contenders, whose ratio fits beside them
_PACKAGES: Final = (
    *("assay", "polars", "psycopg", "sqlalchemy", "pydantic", "httpx", "confluent-kafka"),
    "ministack",
)
TIMES: Final = "×"  # noqa: RUF001 - the sign of multiplication
_STREAM: Final = {"chunk_records", "chunk_mib", "linger", "window_chunks", "window_mib", "workers"}
_SHOWN: Final = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")


@dataclass(frozen=True)
class Figure:
    """One run.

    Attributes:
        job: what was done: `stream` or `batch`.
        api: which API was asked: `stub` or `model`.
        way: who did it.
        rows: records.
        seconds: from the start of the process to its end.
        inner_seconds: the same without the start, as the command itself says.
        cpu: CPU seconds by process.
        others: CPU seconds that everything else on the machine took meanwhile.
        load: of the machine before the run, over a minute.
        peak: the most memory of the process, in bytes.
    """

    job: str
    api: str
    way: str
    rows: int
    seconds: float
    inner_seconds: float
    cpu: dict[str, float]
    others: float
    load: float
    peak: int

    @property
    def rate(self) -> float:
        """Records a second, the start included."""
        return self.rows / self.seconds

    def per_million(self, name: str) -> float:
        """CPU seconds of a million records, by a process that took part."""
        return self.cpu[name] / self.rows * MILLION


@dataclass(frozen=True)
class Limit:
    """What one part alone can do.

    Attributes:
        part: which.
        rates: records a second, of each run.
    """

    part: str
    rates: list[float]


def _cpu(name: str) -> Callable[[Figure], float]:
    def of(each: Figure) -> float:
        own = name or each.way
        return each.per_million(own) if own in each.cpu else nan

    return of


_LINES: Final[dict[str, tuple[str, Callable[[Figure], float]]]] = {
    "rows/s, start included": (",.0f", lambda each: each.rate),
    "rows/s, start excluded": (",.0f", lambda each: each.rows / each.inner_seconds),
    "CPU s per 1 M rows, all": (
        ".2f",
        lambda each: sum(each.cpu.values()) / each.rows * MILLION,
    ),
    "  the process itself": (".2f", _cpu("")),
    "  model API": (".2f", _cpu("api")),
    "  PostgreSQL": (".2f", _cpu("postgres")),
    "  S3 (emulator)": (".2f", _cpu("s3")),
    "  Kafka": (".2f", _cpu("kafka")),
    "peak memory, MiB": (".0f", lambda each: each.peak / (1 << 20)),
    "others' CPU s meanwhile": (".1f", lambda each: each.others),
    "load before": (".1f", lambda each: each.load),
}


def print_runs(figures: Sequence[Figure], route: str) -> None:
    """Prints the runs of one size: the median of several, and half of their range."""
    ways = list(dict.fromkeys(each.way for each in figures))
    counts = {way: sum(each.way == way for each in figures) for way in ways}
    table = Table(box=box.SIMPLE_HEAD, title=f"{figures[0].rows:,} records, {route}")
    table.title_justify = "left"
    table.add_column("median ± half the range", no_wrap=True)
    for way in ways:
        table.add_column(f"{way}, {counts[way]} runs", justify="right", no_wrap=True)
    if len(ways) == _TWO:
        table.add_column("ratio", justify="right")
    for label, (form, value) in _LINES.items():
        found = [[value(each) for each in figures if each.way == way] for way in ways]
        if any(map(isnan, chain(*found))):
            continue  # a server that this work does without
        cells = [spread(values, form) for values in found]
        if len(ways) == _TWO:
            first, second = map(median, found)
            cells.append(f"{first / second:.2f}" if second else "")
        table.add_row(label, *cells)
    Console(width=80 + 20 * max(0, len(ways) - _TWO), highlight=False).print(table)


def spread(values: Sequence[float], form: str) -> str:
    """The median, and half of the range of several."""
    text = format(median(values), form)
    if len(values) == 1:
        return text
    return f"{text} ± {format((max(values) - min(values)) / 2, form)}"


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(each)} |\n" for each in lines)


def print_sizes(figures: Sequence[Figure]) -> None:
    """Prints whether peak memory stays the same, however large the file is."""
    peaks: dict[int, list[int]] = {}
    for each in figures:
        peaks.setdefault(each.rows, []).append(each.peak)
    medians = {rows: median(found) / (1 << 20) for rows, found in peaks.items()}
    first = next(iter(medians.values()))
    table = Table("records", box=box.SIMPLE_HEAD, title="Peak memory by size")
    table.title_justify = "left"
    table.add_column("MiB", justify="right")
    table.add_column("against the first", justify="right")
    for rows, peak in medians.items():
        table.add_row(f"{rows:,}", f"{peak:.0f}", f"{peak / first - 1:+.1%}")
    console = Console(width=80, highlight=False)
    console.print(table)
    same = all(abs(peak / first - 1) <= MEMORY_SPREAD for peak in medians.values())
    console.print(
        f"peak memory {'stays the same' if same else 'GROWS with the file'} (±{MEMORY_SPREAD:.0%})"
    )


def about(local: Local, ids: str, **settings: Any) -> dict[str, Any]:
    """Date, machine, versions and settings, as far as they matter to the figures.

    Args:
        local: the servers.
        ids: how the ids follow each other.
        settings: of the benchmark itself.
    """
    with psycopg.connect(local.postgres.url) as connection:
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)",
            [list(_SHOWN)],
        )
        postgres = dict(rows.fetchall())
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": {
            "system": f"{platform.system()} {platform.machine()}",
            "cpu": processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "memory_gib": psutil.virtual_memory().total >> 30,
        },
        "versions": {
            "python": platform.python_version(),
            "postgresql": local.postgres.service.version(),
            **{name: version(name) for name in _PACKAGES},
        },
        "settings": {
            "ids": ids,
            **settings,
            **_settings("ASSAY_BATCH__", BatchConfig().model_dump()),
            **_settings("ASSAY_STREAM__", StreamConfig().model_dump(include=_STREAM)),
            **_settings(
                "ASSAY_SERVER__", ServerConfig().model_dump(include={"workers", "threads"})
            ),
            **postgres,
        },
    }


def _settings(prefix: str, defaults: dict[str, Any]) -> dict[str, str]:
    return {
        prefix + name.upper(): os.environ.get(prefix + name.upper(), str(value))
        for name, value in defaults.items()
    }


def processor() -> str:
    """Its name, as far as the system tells it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - no file of ours
            names = (line.partition(":")[2].strip() for line in file if "model name" in line)
            return next(names, platform.processor())
    except OSError:
        return platform.processor()
