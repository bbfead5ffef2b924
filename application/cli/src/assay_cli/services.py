"""What running services say of themselves, from one look to the next."""

import ipaddress
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

from assay.domain import metrics
from assay.domain.errors import Unavailable


class Stranger(Unavailable):
    """What answers at an address is no streaming service."""


DOORS: Final = ("classified", "rejected", "duplicate")
ANYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - what a service may say that it listens on

_SMOOTH: Final = 5.0  # seconds over which rates are taken: chunks come in gusts
_LATELY: Final = 120.0  # a service that was noted so long ago may still be starting
_MOURNED: Final = 60.0  # seconds for which one is shown that answers no more
_REMEMBERED: Final = 86_400.0  # the same, for which it is counted at least

Samples = Iterable[tuple[str, Mapping[str, str], float]]
"""Names of metrics, with the labels and the value of each."""


@dataclass(frozen=True)
class Named:
    """A service that should be running.

    Attributes:
        url: where it tells its health and metrics.
        kind: of its run; None where only its address is known, as with what follows.
        age: seconds since it began.
    """

    url: str
    kind: str | None = None
    source: str | None = None
    host: str | None = None
    run_id: str | None = None
    age: float = 0.0


def named(row: Mapping[str, Any], here: str) -> Named | None:
    """The service of a run, at an address that can be asked from this machine.

    Args:
        row: of the runs.
        here: the name of this machine.

    Returns:
        None where it listens to its own machine only, which is another one.
    """
    url: str = row["status_url"]
    where = urlsplit(url)
    host, is_here = where.hostname or "", row["host"] == here
    if host in ANYWHERE:
        host = "127.0.0.1" if is_here else row["host"]
    elif _is_loopback(host) and not is_here:
        return None
    address = f"[{host}]" if ":" in host else host
    facts = {name: row[name] for name in ("kind", "source", "host", "run_id", "age")}
    return Named(url=f"{where.scheme}://{address}:{where.port}", **facts)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def distinct(services: Iterable[Named]) -> list[Named]:
    """One service an address, the first: ports are given again when a service was killed."""
    found: dict[str, Named] = {}
    for each in services:
        found.setdefault(each.url, each)
    return list(found.values())


@dataclass(frozen=True)
class Reading:
    """What a service said in one look.

    Attributes:
        at: when, in seconds of some clock.
        is_ready: whether it did its work.
        totals: of counters since it began: doors, `commits`, `commit_seconds`, and of dead
            letters `published`.
        lags: of partitions, in offsets; None where it is not known, since Kafka is away.
        partitions: those that it owned.
        window_chunks, window_bytes: read and not committed yet.
        pace: how much is taken on at a time: `chunk_records`, `call_records`, `calls` at once, and
            `calls_under_way`; empty where it does not say.
        connections: to PostgreSQL that were in use.
        waiting: dead letters that wait to be published, by destination; None where it does not
            say.
        away: dependencies that it waited for.
        open: dependencies whose breaker was open.
        pipeline: that it is; None where it does not say.
        is_stopping: whether it came to its end.
    """

    at: float
    is_ready: bool
    totals: Mapping[str, float]
    lags: Mapping[str, int | None]
    partitions: Sequence[str]
    window_chunks: int
    window_bytes: int
    pace: Mapping[str, int]
    connections: int
    waiting: Mapping[str, int] | None
    away: Sequence[str]
    open: Sequence[str]
    pipeline: str | None
    is_stopping: bool


_COUNTERS: Final = {
    f"{metrics.COMMIT_SECONDS.name}_count": "commits",
    f"{metrics.COMMIT_SECONDS.name}_sum": "commit_seconds",
    metrics.LETTERS_PUBLISHED.name: "published",
}


_PACE: Final = {
    "chunk_records": metrics.CHUNK_RECORDS_LIMIT,
    "call_records": metrics.CALL_RECORDS_LIMIT,
    "calls": metrics.CALLS_LIMIT,
    "calls_under_way": metrics.CALLS,
}


def reading(at: float, samples: Samples, facts: Mapping[str, Any], *, is_ready: bool) -> Reading:
    """What metrics and readiness say; what is not among them is nothing."""
    totals: dict[str, float] = dict.fromkeys((*DOORS, *_COUNTERS.values()), 0.0)
    gauges: dict[str, float] = {}
    lags: dict[str, int] = {}
    waiting: dict[str, int] = {}
    open_: list[str] = []
    pipeline: str | None = None
    for name, labels, value in samples:
        if name == metrics.RECORDS.name and labels.get("door") in DOORS:
            totals[labels["door"]] += value
            pipeline = labels.get("pipeline", pipeline)
        elif name in _COUNTERS:
            totals[_COUNTERS[name]] += value
        elif name == metrics.LAG.name:
            lags[labels.get("partition", "")] = int(value)
        elif name == metrics.LETTERS_WAITING.name:
            waiting[labels.get("destination", "")] = int(value)
        elif name == metrics.BREAKER_OPEN.name:
            open_ += [labels.get("dependency", "")] if value else []
        else:
            gauges[name] = gauges.get(name, 0.0) + value
    owned, away = _texts(facts.get("partitions")), _texts(facts.get("away"))
    # What was known before Kafka went away says nothing of now.
    is_known = "source" not in {*away, *open_}
    return Reading(
        at=at,
        is_ready=is_ready,
        totals=totals,
        lags={each: lags.get(each, 0) if is_known else None for each in owned},
        partitions=owned,
        window_chunks=int(gauges.get(metrics.WINDOW_CHUNKS.name, 0)),
        window_bytes=int(gauges.get(metrics.WINDOW_BYTES.name, 0)),
        pace={name: int(gauges.get(each.name, 0)) for name, each in _PACE.items()}
        if metrics.CALLS.name in gauges
        else {},
        connections=int(gauges.get(metrics.DATABASE_CONNECTIONS.name, 0)),
        waiting=waiting or ({} if "waiting" in facts else None),
        away=away,
        open=sorted(open_),
        pipeline=pipeline,
        is_stopping=facts.get("stopping") is True,
    )


def _texts(value: object) -> list[str]:
    return [str(each) for each in cast(list[object], value)] if isinstance(value, list) else []


@dataclass
class Service:
    """A service that is looked at again and again."""

    named: Named
    _readings: deque[Reading] = field(default_factory=deque[Reading])
    _is_silent: bool = False

    def heard(self, new: Reading) -> None:
        """It has answered."""
        self._is_silent = False
        if self._readings and _fell(self._readings[-1].totals, new.totals):
            self._readings.clear()  # another process at its address
        self._readings.append(new)
        while len(self._readings) > 2 and self._readings[1].at <= new.at - _SMOOTH:  # noqa: PLR2004
            self._readings.popleft()

    def missed(self) -> None:
        """It has not answered."""
        self._is_silent = True

    @property
    def latest(self) -> Reading | None:
        """What it said last."""
        return self._readings[-1] if self._readings else None

    @property
    def is_silent(self) -> bool:
        """Whether it did not answer when it was asked last."""
        return self._is_silent

    def is_gone(self, now: float) -> bool:
        """Whether it was probably killed: it does not answer, and has not for a while.

        One that was named by its address is looked for until the end.
        """
        if not self._is_silent or self.named.kind is None:
            return False
        latest = self.latest
        return self.named.age > _LATELY if latest is None else now - latest.at > _MOURNED

    @property
    def is_forgotten(self) -> bool:
        """Whether it was killed so long ago, without a word since, that nobody looks for it."""
        return self.latest is None and self.named.age > _REMEMBERED

    @property
    def state(self) -> str:
        """In one word: `ready`, `waiting` for what is away, `starting`, `stopping` or `silent`."""
        latest = self.latest
        if self._is_silent or latest is None:
            return "silent"
        if latest.is_stopping:
            return "stopping"
        if latest.away or latest.open:
            return "waiting"
        return "ready" if latest.is_ready else "starting"

    def rates(self) -> dict[str, float] | None:
        """How the counters grow in a second, lately; None where it cannot be known."""
        if self._is_silent or len(self._readings) < 2:  # noqa: PLR2004 - a rate has two ends
            return None
        first, last = self._readings[0], self._readings[-1]
        seconds = last.at - first.at
        if seconds <= 0:
            return None
        return {
            name: (total - first.totals.get(name, 0.0)) / seconds
            for name, total in last.totals.items()
        }


def _fell(before: Mapping[str, float], after: Mapping[str, float]) -> bool:
    return any(after.get(name, 0.0) < total for name, total in before.items())


@dataclass(frozen=True)
class Lag:
    """How far a partition is behind.

    Attributes:
        lag: in offsets; None: not known, since Kafka is away.
        url: the service that reads it; None: the one that did is silent, and nobody else does yet.
    """

    source: str | None
    partition: str
    lag: int | None
    url: str | None


def lags(services: Collection[Service]) -> list[Lag]:
    """Those of all partitions that are known, in order."""
    found: dict[tuple[str, str], Lag] = {}
    for each in sorted(services, key=lambda each: not each.is_silent):
        reader = None if each.is_silent else each.named.url
        source = each.named.source
        for partition, lag in each.latest.lags.items() if each.latest else ():
            found[source or each.named.url, partition] = Lag(source, partition, lag, reader)
    return sorted(
        found.values(), key=lambda each: (each.source or "", len(each.partition), each.partition)
    )


def unread(services: Collection[Service]) -> dict[str, list[str]]:
    """Partitions by source that nobody was heard to own, though one of a higher number was.

    How many there are no service tells: those above the highest are not known. Nor is anything
    known of sources of which not every service is looked at.
    """
    owned: dict[str, set[int]] = {}
    for each in lags(services):
        if each.source is not None and each.partition.isdecimal():
            owned.setdefault(each.source, set()).add(int(each.partition))
    return {
        source: [str(each) for each in missing]
        for source, numbers in owned.items()
        if (missing := sorted({*range(max(numbers))} - numbers))
    }


def facts(service: Service) -> dict[str, Any]:
    """What is known of a service, as JSON has it."""
    about = service.named
    known: dict[str, Any] = {
        "url": about.url,
        "kind": about.kind,
        "source": about.source,
        "host": about.host,
        "run_id": about.run_id,
        "state": service.state,
    }
    if (latest := service.latest) is None or service.is_silent:
        return known
    rates = service.rates()
    commits = latest.totals["commits"]
    if latest.waiting is not None:
        known["published"] = int(latest.totals["published"])
        known["publish_rate"] = rates and round(rates["published"], 1)
        known["waiting"] = latest.waiting
    return known | {
        "records": {door: int(latest.totals[door]) for door in DOORS},
        "rates": rates and {door: round(rates[door], 1) for door in DOORS},
        "commit_seconds": round(latest.totals["commit_seconds"] / commits, 4) if commits else None,
        "partitions": latest.partitions,
        "lags": latest.lags,
        "window": {"chunks": latest.window_chunks, "bytes": latest.window_bytes},
        "pace": latest.pace,
        "connections": latest.connections,
        "away": latest.away,
        "breakers_open": latest.open,
    }
