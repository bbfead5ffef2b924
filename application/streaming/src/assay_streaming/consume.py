"""The consumer: a topic's records through the pump, for as long as they come."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, Protocol

import structlog

from assay.domain import metrics
from assay.domain.errors import Unavailable
from assay.domain.outcome import Outcome
from assay.domain.position import Partition
from assay.domain.reject import by_code
from assay.domain.tally import Tally
from assay.pipeline.inflight import Decode
from assay.pipeline.pace import Pace
from assay.pipeline.pump import Policy, Pump
from assay.pipeline.watch import Watch
from assay.ports.classifier import Classifier
from assay.ports.clock import Clock
from assay.ports.lineage import Lineage, Untold
from assay.ports.meter import Meter
from assay.ports.source import Source
from assay.ports.store import Store
from assay.ports.tracer import Tracer
from assay.wire.messages import decode
from assay_streaming.events import Events, Told
from assay_streaming.health import Health

PIPELINE: Final = "stream"
"""What `assay stream consume` is called in metrics and events."""

CLASSIFY: Final = "classify"
"""What `assay stream classify` is called there."""

_EVERY: Final = 1.0  # seconds between two looks at what is not told by itself
_SOON: Final = 0.1
_JOINING: Final = 5.0  # seconds in which a group has usually shared out its partitions
_log = structlog.get_logger(__name__)


class StreamSource(Source, Protocol):
    """A source whose partitions are shared out among several consumers."""

    @property
    def assigned(self) -> Collection[Partition]:
        """The partitions that it owns."""
        ...

    @property
    def is_member(self) -> bool:
        """Whether its group knows of it."""
        ...

    def lags(self) -> Mapping[Partition, int]:
        """How many positions of each are not committed yet, as far as known."""
        ...

    def whole(self) -> tuple[int, int] | None:
        """How it stands as a whole, whoever owns the partitions; for who owns none.

        Returns:
            How many positions are not committed, and a number that grows with each that comes.
            Each answer is given once; None where there is none yet.
        """
        ...


class Progress(Protocol):
    """Shows people how a stream gets on."""

    def look(self, tally: Tally, lag: int | None) -> None:
        """So many records in all, and so many still to come; None where that is not known."""
        ...

    def away(self, dependency: str, error: Unavailable | None) -> None:
        """A dependency is away and is waited for; with None: it is back."""
        ...

    def unassigned(self, group: str, session: float) -> None:
        """For a while no partition has been assigned to this member of the group.

        Others are members until they have told nothing for so many seconds.
        """
        ...


@dataclass(frozen=True)
class Services:
    """What a consumer is composed of.

    Attributes:
        classifier: None where records come with their predictions.
        decode: reads the messages.
        pace: of this consumer; its source knows it, too.
        connections: how many connections to the database are in use.
        on_signal: calls back at the first SIGTERM or Ctrl-C; the second ends the process.
        look: called now and then; raises what has happened beside.
        tracer: None where nobody follows chunks.
        lineage: told of the run.
    """

    source: StreamSource
    classifier: Classifier | None
    store: Store
    executor: Executor
    clock: Clock
    meter: Meter
    pace: Pace
    health: Health
    events: Events
    connections: Callable[[], int]
    on_signal: Callable[[Callable[[], None]], AbstractContextManager[list[int]]]
    decode: Decode = decode
    look: Callable[[], None] = lambda: None
    tracer: Tracer | None = None
    lineage: Lineage = field(default_factory=Untold)


@dataclass(frozen=True)
class Request:
    """What is asked of a consumer.

    Attributes:
        run_id: its name.
        source: under which the store keeps positions and ledger.
        destination: where relays publish the rejects.
        group: whose members share the partitions.
        session: seconds until the group misses a member that tells nothing any more.
        policy: patience, limits, window.
        until_idle: ends when all is read and nothing has come for so many seconds; None goes on
            for ever. Without partitions that is said of what the others have committed.
        pipeline: the label of its metrics, and the service that its events name.
    """

    run_id: str
    source: str
    destination: str
    group: str
    session: float
    policy: Policy
    until_idle: float | None = None
    pipeline: str = PIPELINE


@dataclass
class Result:
    """What a consumer has done so far.

    Attributes:
        status: `running`, then `stopped` or `failed`.
        codes: rejects by code and field.
    """

    run_id: str
    status: str = "running"
    exit_code: int = 0
    tally: Tally = field(default_factory=Tally)
    codes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    model_version: str | None = None
    began: float = field(default_factory=time.monotonic)

    def committed(self, outcome: Outcome, tally: Tally) -> None:
        """An outcome is committed."""
        self.tally += tally
        self.codes.update(by_code(outcome.rejects))
        # The store alone sees those, and says how many.
        if conflicts := tally.rejected - outcome.rejects.height:
            self.codes["conflicting_duplicate", "transaction_id"] += conflicts
        if outcome.classified.height:
            self.model_version = outcome.classified["model_version"][-1]

    def summary(self) -> dict[str, Any]:
        """What the last line says."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            **vars(self.tally),
            "seconds": round(time.monotonic() - self.began, 3),
            "model_version": self.model_version,
        }


@dataclass
class _Watcher:
    """Looks now and then at what is not told by itself, and passes it on.

    Attributes:
        came: when something came, or was still to come, for the last time; or when the partitions
            came or went.
        owned: the partitions that it has told of.
        ends: a number that grows with what comes to the whole topic, while it owns no partition.
        seen: those that metrics have been set for.
        asking: since when it has had none, with Kafka there; None once that was said, or needs not.
    """

    request: Request
    services: Services
    result: Result
    progress: Progress
    came: float
    owned: Collection[Partition] = field(default_factory=list[Partition])
    ends: int | None = None
    seen: set[Partition] = field(default_factory=set[Partition])
    asking: float | None = None

    def __post_init__(self) -> None:
        self.asking = self.services.clock.now()

    def committed(self, outcome: Outcome, tally: Tally) -> None:
        """An outcome is committed."""
        self.came = self.services.clock.now()
        self.services.health.moved()
        self.result.committed(outcome, tally)
        self.services.lineage.committed(outcome, tally)
        meter, pipeline = self.services.meter, self.request.pipeline
        for each in outcome.ranges:
            meter.set(metrics.POSITION, each.next, pipeline=pipeline, partition=each.partition)
        meter.set(metrics.LAST_COMMIT, time.time(), pipeline=pipeline)

    def look(self, pump: Pump) -> None:
        """Tells how it stands."""
        source, meter, clock = self.services.source, self.services.meter, self.services.clock
        lags, assigned = source.lags(), sorted(source.assigned, key=_number)
        if assigned != self.owned:
            self.came = clock.now()
            self.owned = assigned
            _log.info("partitions are assigned", partitions=assigned)
            self.asking = None if assigned else clock.now()
        self._say_unassigned(pump)
        self.seen.update(lags)
        for each in self.seen - (set(assigned) - lags.keys()):  # of those nothing is known
            meter.set(
                metrics.LAG, lags.get(each, 0), pipeline=self.request.pipeline, partition=each
            )
        meter.set(
            metrics.DATABASE_CONNECTIONS,
            self.services.connections(),
            pipeline=self.request.pipeline,
        )
        lag = self._lag(pump)
        self.services.health.look(
            away=pump.away,
            is_busy=any(lags.values()) and not (pump.is_failing or pump.is_asking),
            facts={
                "run_id": self.result.run_id,
                "group": self.request.group,
                "partitions": assigned,
                "lag": lag,
            },
        )
        self.progress.look(self.result.tally, lag)

    def idle(self, pump: Pump) -> float:
        """For how many seconds all has been read and nothing has come, as far as is known now."""
        source, now = self.services.source, self.services.clock.now()
        if pump.is_failing or not (self.owned or source.is_member):
            self.came = now
        elif self.owned:
            if self._lag(pump) != 0:  # not all is known, or not all is read
                self.came = now
        else:
            # Others have the partitions: the living, who read, or the dead, who do not.
            if (whole := source.whole()) is None:
                return 0
            left, ends = whole
            if left or ends != self.ends:
                self.ends, self.came = ends, now
        return now - self.came

    def _lag(self, pump: Pump) -> int | None:
        """How many positions of its partitions are not committed; None where that is not known."""
        lags = self.services.source.lags()
        # What was known before Kafka went away says nothing of now.
        is_known = lags and len(lags) == len(self.owned) and "source" not in pump.away
        return sum(lags.values()) if is_known else None

    def _say_unassigned(self, pump: Pump) -> None:
        """Says once why nothing comes, where others have the partitions, or the dead."""
        if self.asking is None:
            return
        now = self.services.clock.now()
        if "source" in pump.away:
            self.asking = now
        elif now >= self.asking + _JOINING:
            self.asking = None
            self.progress.unassigned(self.request.group, self.request.session)


def consume(request: Request, services: Services, result: Result, progress: Progress) -> None:
    """Pumps until a signal asks for the end; what was read by then is committed.

    Raises:
        RejectLimitExceeded: so much was rejected that something else must be wrong.
        Fatal: it does not help to go on: settings, rights, or records that are gone.
    """
    health, clock = services.health, services.clock
    watcher = _Watcher(request, services, result, progress, came=clock.now())
    told = Told(services.events, request.run_id, request.pipeline)

    def away(dependency: str, error: Unavailable | None) -> None:
        progress.away(dependency, error)
        told.away(dependency, error)

    pump = Pump(
        run_id=request.run_id,
        source_name=request.source,
        destination=request.destination,
        source=services.source,
        decode=services.decode,
        classifier=services.classifier,
        store=services.store,
        executor=services.executor,
        clock=clock,
        watch=Watch(
            services.meter,
            clock,
            request.pipeline,
            committed=watcher.committed,
            away=away,
            answered=health.moved,
            paced=_paced,
            tracer=services.tracer,
        ),
        policy=request.policy,
        pace=services.pace,
    )

    def stop() -> None:
        health.stopping()
        pump.stop()
        _log.warning("stopping: what was read is committed; a second signal ends at once")

    patience = request.until_idle
    # Whoever waits for the end waits for no look longer than need be.
    every = _EVERY if patience is None else min(_EVERY, max(_SOON, patience))
    services.lineage.start()
    with told.its_life(), services.on_signal(stop):
        looked = -inf
        for _ in pump.steps():
            if clock.now() >= looked + every:
                looked = clock.now()
                services.look()
                watcher.look(pump)
                if patience is not None and watcher.idle(pump) > patience:
                    pump.stop()
    services.lineage.end(0)


def _paced(pace: Pace) -> None:
    _log.info(
        "less at a time" if pace.is_lowered else "as much at a time as settings allow",
        **pace.limits,
    )


def _number(partition: Partition) -> tuple[int, str]:
    """Sorts names that are numbers by their value."""
    return len(partition), partition
