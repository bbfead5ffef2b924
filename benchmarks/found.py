"""What benchmarks have found, part by part, and how it is kept between runs."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, Final, Generic, TypeVar

from figures import MILLION, Figure, Limit

T = TypeVar("T")


@dataclass(frozen=True)
class Level:
    """How long records took at one rate, in seconds from when each was due to be produced.

    Attributes:
        maximum: the highest rate that can be kept up, in records a second; None where it was not
            asked for.
        share: of the maximum that the rate is; None of a rate that was given.
        rate: records a second.
        records: how many counted.
        p50: half of them took no longer.
        p99: 99 of a hundred took no longer.
        p999: 999 of a thousand took no longer.
        highest: none took longer.
        late_p99: 99 of a hundred were produced no later than this after they were due.
        late_highest: none was produced later.
        behind: from when the last one was due until all were committed.
    """

    maximum: float | None
    share: float | None
    rate: float
    records: int
    p50: float
    p99: float
    p999: float
    highest: float
    late_p99: float
    late_highest: float
    behind: float


def middle(runs: Sequence[Level]) -> list[Level]:
    """The medians of the runs of each rate, as a run each, in their order."""
    rates = dict.fromkeys((each.rate, each.share) for each in runs)
    found: list[Level] = []
    for at in rates:
        same = [each for each in runs if (each.rate, each.share) == at]
        spans = {name: median(getattr(each, name) for each in same) for name in SPANS}
        found.append(replace(same[0], **spans))
    return found


SPANS: Final = ("p50", "p99", "p999", "highest", "late_p99", "late_highest", "behind")
"""What a `Level` measures, in seconds."""


@dataclass(frozen=True)
class Scaled:
    """One run of several consumers of a group.

    Attributes:
        api: which API was asked.
        partitions: of the topic.
        consumers: processes.
        rows: records.
        seconds: from the start of the first process to the last row.
        cpu: CPU seconds by process; `assay` is all consumers together.
        start: of these, what starting and ending the consumers takes on an empty topic.
        read: records of each consumer.
        peaks: the most memory of each consumer, in bytes.
        held: the most memory of each server, in bytes; what processes share counts once.
        others: CPU seconds that everything else on the machine took meanwhile.
        load: of the machine before the run, over a minute.
    """

    api: str
    partitions: int
    consumers: int
    rows: int
    seconds: float
    cpu: dict[str, float]
    start: float
    read: list[int]
    peaks: list[int]
    held: dict[str, int]
    others: float
    load: float

    @property
    def rate(self) -> float:
        """Records a second, the start included."""
        return self.rows / self.seconds

    def per_million(self, name: str) -> float:
        """CPU seconds of a million records, without the start of the consumers."""
        start = self.start if name == "assay" else 0.0
        return (self.cpu[name] - start) / self.rows * MILLION


@dataclass(frozen=True)
class Filled:
    """One run into tables that hold rows already.

    Attributes:
        layout: how the tables are cut: `plain`, `hash` or `month`.
        present: rows of each table before the run, about.
        rows: records that came.
        seconds: from the start of the process to its end.
        cpu: CPU seconds by process.
        wal: bytes that PostgreSQL logged meanwhile.
        heap: bytes of both tables after the run, without indexes.
        indexes: bytes of their indexes after the run.
        stored: rows of each table after the run.
        others: CPU seconds that everything else on the machine took meanwhile.
        load: of the machine before the run, over a minute.
    """

    layout: str
    present: int
    rows: int
    seconds: float
    cpu: dict[str, float]
    wal: int
    heap: int
    indexes: int
    stored: int
    others: float
    load: float

    @property
    def rate(self) -> float:
        """Records a second, the start included."""
        return self.rows / self.seconds

    def per_million(self, name: str) -> float:
        """CPU seconds of a million records."""
        return self.cpu[name] / self.rows * MILLION


@dataclass(frozen=True)
class Repeated:
    """One run over records of which some come again.

    Attributes:
        every: after so many a record comes once more; 0: none does.
        sorts: where the ids of those stand among all: `first` or `last`; empty where none comes.
        again: how many came again.
        figure: what it has cost, with those among its rows.
    """

    every: int
    sorts: str
    again: int
    figure: Figure


@dataclass(frozen=True)
class Warmed:
    """One run with the model, whose API remembers what it was asked before, or not.

    Attributes:
        traffic: how often descriptions come: `even`, each as often, or `skewed`.
        is_warm: whether the API was asked about the same records before.
        figure: what it has cost.
    """

    traffic: str
    is_warm: bool
    figure: Figure


@dataclass(frozen=True)
class Setup:
    """How a contender was set up.

    Attributes:
        title: as it is shown.
        about: for each job, in words.
        packages: that it asked for, with their versions.
        half: whether it did but half of the work.
    """

    title: str
    about: dict[str, str]
    packages: list[str]
    half: bool = False


@dataclass(frozen=True)
class Contest:
    """What the contenders did, and the limits of the parts.

    Attributes:
        about: of `figures.about`.
        setups: by contender.
        runs: each run of each contender.
        limits: what the parts alone can do.
    """

    about: dict[str, Any]
    setups: dict[str, Setup]
    runs: list[Figure]
    limits: list[Limit]

    def sections(self) -> Iterator[tuple[str, str]]:
        """Job and API of what was run, in order."""
        yield from dict.fromkeys((each.job, each.api) for each in self.runs)

    def section(self, job: str, api: str) -> dict[str, list[Figure]]:
        """The runs of a section, by contender."""
        found: dict[str, list[Figure]] = {}
        for each in self.runs:
            if (each.job, each.api) == (job, api):
                found.setdefault(each.way, []).append(each)
        return found


@dataclass(frozen=True)
class Part(Generic[T]):
    """The runs of one benchmark.

    Attributes:
        about: of `figures.about`.
        runs: in the order in which they were made.
    """

    about: dict[str, Any]
    runs: list[T]


@dataclass(frozen=True)
class Found:
    """All that was found, each part by itself; None where it was never measured."""

    contest: Contest | None = None
    scaling: Part[Scaled] | None = None
    tables: Part[Filled] | None = None
    latency: Part[Level] | None = None
    duplicates: Part[Repeated] | None = None
    memory: Part[Figure] | None = None
    warm: Part[Warmed] | None = None
    fan_out: Part[Figure] | None = None

    def abouts(self) -> dict[str, dict[str, Any]]:
        """Machine, versions and settings of each part that was measured."""
        return {name: part.about for name, part in vars(self).items() if part is not None}


def to_json(found: Found) -> str:
    """All of it, as one document."""
    return json.dumps(asdict(found), indent=1) + "\n"


def from_json(text: str) -> Found:
    """What `to_json` has written."""
    read = json.loads(text)
    contest = read["contest"]
    return Found(
        contest=contest
        and Contest(
            about=contest["about"],
            setups={name: Setup(**each) for name, each in contest["setups"].items()},
            runs=[Figure(**each) for each in contest["runs"]],
            limits=[Limit(**each) for each in contest["limits"]],
        ),
        scaling=_part(read["scaling"], Scaled),
        tables=_part(read["tables"], Filled),
        latency=_part(read["latency"], Level),
        duplicates=_part(read.get("duplicates"), _with_figure(Repeated)),
        memory=_part(read.get("memory"), Figure),
        warm=_part(read.get("warm"), _with_figure(Warmed)),
        fan_out=_part(read.get("fan_out"), Figure),
    )


def _with_figure(kind: Callable[..., T]) -> Callable[..., T]:
    def made(figure: dict[str, Any], **rest: Any) -> T:
        return kind(figure=Figure(**figure), **rest)

    return made


def _part(read: dict[str, Any] | None, kind: Callable[..., T]) -> Part[T] | None:
    if read is None:
        return None
    return Part(read["about"], [kind(**each) for each in read["runs"]])
