"""The dead-letter service: publishes letters that wait, and tries due ones again."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Event, Lock
from typing import Any, Final, Protocol
from uuid import uuid4

import polars as pl
import structlog
from structlog.contextvars import bind_contextvars, get_contextvars

from assay.domain import metrics
from assay.domain.choice import Filter
from assay.domain.dependencies import OF_LETTERS
from assay.domain.errors import (
    DONE,
    NOTHING_TO_DO,
    TEMPORARY,
    AssayError,
    Fatal,
    Fenced,
    NotTaken,
    Unavailable,
)
from assay.domain.outcome import Outcome
from assay.domain.position import TOPICS
from assay.domain.reject import letter_id
from assay.domain.tally import Tally
from assay.pipeline import redrive
from assay.pipeline.letters import Reading
from assay.pipeline.pump import Policy
from assay.pipeline.relay import relay
from assay.pipeline.retry import FULL_JITTER, delay
from assay.pipeline.watch import Watch
from assay.ports.clock import Clock
from assay.ports.letters import Claim, Letters
from assay.ports.meter import Meter
from assay.ports.publisher import Publisher
from assay.wire.events import of_letters
from assay.wire.framed import Unframe
from assay_streaming.events import Events, Told
from assay_streaming.health import Health

SERVICE: Final = "dead-letters"
"""What its events call it."""
PIPELINE: Final = "redrive"
"""The label of its pump's metrics."""

_PREFIX: Final = "kafka:"
_EVERY: Final = 1.0  # seconds between two looks for letters that wait
_SELDOM: Final = 10.0  # and between two looks at how many there are
_SAID: Final = {
    **{each: (f"waiting for {name}", f"{name} is back") for each, name in OF_LETTERS.items()},
    "relay": ("publishing waits", "publishing goes on"),
    "retry": ("trying again waits", "trying again goes on"),
}
"""What people are told while something is away, and when it is back."""
_LIMIT: Final = 10_000  # letters that are tried again together
_CODES: Final = 50  # that have a gauge of their own
_NAMED: Final = 5  # letters, where some are set aside
_log: Any = structlog.get_logger(__name__)


class Books(Protocol):
    """How many letters there are."""

    def waiting(self) -> Mapping[str, int]:
        """Those that wait to be published, by destination."""
        ...

    def counts(self, chosen: Filter) -> list[dict[str, Any]]:
        """`letters` of each `code`, in some rows."""
        ...

    def latest(self, chosen: Filter, limit: int) -> list[dict[str, Any]]:
        """The facts of the latest, `id` among them."""
        ...


class Runs(Protocol):
    """Notes on runs, its own and others, for people."""

    def start(self, run_id: str) -> None:
        """A redrive has begun."""
        ...

    def end(self, run_id: str, status: str, summary: Mapping[str, Any]) -> None:
        """It has ended like this."""
        ...

    def ends(self) -> Mapping[tuple[str, str], float]:
        """When the latest run of each kind and status has ended, in seconds since 1970."""
        ...


@dataclass(frozen=True)
class Services:
    """What the service is composed of.

    Attributes:
        redrives: makes what a redrive of this name is composed of; None where none is wanted.
        whole, unframe: see `assay.pipeline.letters.Reading`.
        connections: how many connections to the database are in use.
        on_signal: calls back at the first SIGTERM or Ctrl-C; the second ends the process.
    """

    letters: Letters
    publisher: Publisher
    books: Books
    runs: Runs
    redrives: Callable[[str], redrive.Services] | None
    whole: Callable[[str, str, int], bytes | None]
    unframe: Unframe
    clock: Clock
    meter: Meter
    health: Health
    events: Events
    connections: Callable[[], int]
    on_signal: Callable[[Callable[[], None]], AbstractContextManager[list[int]]]


@dataclass(frozen=True)
class Request:
    """What is asked of the service.

    Attributes:
        run_id: its name in events and summary.
        max_attempts: a letter that was tried so often is left to people.
        retry_delay: until a letter is tried again, doubled with each attempt.
        policy: how patient a redrive is.
        once: publishes what waits, tries what is due, and ends.
    """

    run_id: str
    max_attempts: int
    retry_delay: timedelta
    policy: Policy
    once: bool = False


@dataclass
class Result:
    """What the service has done so far.

    Attributes:
        status: `running`, then `stopped`, `done`, `held` (letters wait that others have claimed, or
            that are set aside), `nothing_to_do` or `failed`.
        published: letters, by destination.
        retried: letters that were tried again, by what became of them.
        stuck: letters that broke their redrive off, and are left alone since.
    """

    run_id: str
    status: str = "running"
    exit_code: int = DONE
    published: Counter[str] = field(default_factory=Counter[str])
    retried: Tally = field(default_factory=Tally)
    stuck: int = 0
    began: float = field(default_factory=time.monotonic)

    def summary(self) -> dict[str, Any]:
        """What the last line says."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "published": self.published.total(),
            "retried": self.retried.read,
            "closed": self.retried.classified + self.retried.duplicate,
            "failed_again": self.retried.rejected,
            "stuck": self.stuck,
            "seconds": round(time.monotonic() - self.began, 3),
        }


class _Service:
    """The two things that it does, and how it stands. `look` is called in one thread only."""

    def __init__(self, request: Request, services: Services, result: Result) -> None:
        self._request, self._services, self._result = request, services, result
        self._told = Told(services.events, request.run_id, SERVICE)
        self._stopping = Event()
        self._lock = Lock()
        self._away: dict[str, Unavailable] = {}
        self._beats: dict[str, float] = {}
        self._seen: dict[metrics.Metric, set[str]] = {}
        self._waiting = 0
        self._looked = self._logged = float("-inf")
        self._said = result.summary()
        self._redrive: redrive.Redrive | None = None
        self._limit = _LIMIT
        self._stuck: list[int] = []
        for each in ("closed", "failed", "stuck"):
            services.meter.add(metrics.LETTERS_RETRIED, 0, result=each)

    # ---------------------------------------------------------------- what it does

    def publish(self) -> None:
        """Publishes all letters that wait and nobody else has claimed.

        A destination that is away hinders no other.

        Raises:
            Unavailable: one is away, or the database.
        """
        failed: Unavailable | None = None
        for destination in self._services.letters.destinations(_PREFIX):
            try:
                self._publish_to(destination)
            except Unavailable as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def _publish_to(self, destination: str) -> None:
        services = self._services
        for number in relay(
            services.letters,
            services.publisher,
            destination,
            published=self._tell_of,
            set_aside=self._warn_of,
        ):
            self._result.published[destination] += number
            services.meter.add(metrics.LETTERS_PUBLISHED, number, destination=destination)
            self._beat("relay")
            if self._stopping.is_set():
                return

    def _tell_of(self, claim: Claim) -> None:
        self._services.events.tell(of_letters(claim.letters, datetime.now(UTC)))

    def _warn_of(self, letters: pl.DataFrame, error: NotTaken) -> None:
        origins = letters.select("source", "partition", "topic_id", "position").head(_NAMED)
        _log.warning(
            "letters are set aside, and tried again in some minutes",
            letters=letters.height,
            first=[letter_id(*origin) for origin in origins.iter_rows()],
            error=str(error),
        )

    def retry(self) -> None:
        """Tries again what is due, until nothing is or it is to stop.

        Raises:
            Unavailable: the database is away, or something for longer than the policy's patience.
            Fatal: settings, rights or tables are wrong, whichever letters are tried.
        """
        if (make := self._services.redrives) is None:
            return
        while not self._stopping.is_set() and self._retry(make):
            pass

    def _retry(self, make: Callable[[str], redrive.Services]) -> bool:
        """One redrive; returns whether more may be due."""
        asked, run_id = self._request, str(uuid4())
        request = redrive.Request(
            run_id=run_id,
            chosen={
                "source_prefix": TOPICS,
                "retriable": True,
                "max_attempts": asked.max_attempts,
                "due": asked.retry_delay,
                "but": self._stuck,
            },
            reading=Reading(whole=self._services.whole, unframe=self._services.unframe),
            policy=asked.policy,
            limit=self._limit,
        )
        with redrive.redrive(request, make(run_id), self._watch()) as claimed:
            if not claimed.letters:
                return False
            self._redrive = claimed
            if self._stopping.is_set():
                claimed.stop()
            runs, status = self._services.runs, "failed"
            runs.start(run_id)
            try:
                claimed.run()
                status = "interrupted" if self._stopping.is_set() else "done"
                may_be_more = claimed.letters == self._limit
                self._limit = min(2 * self._limit, _LIMIT)
            except Fenced as error:
                # What is left of its letters is somebody else's, or comes again.
                _log.warning("a redrive has lost its letters", run_id=run_id, error=str(error))
                may_be_more = False
            except Exception as error:
                if _concerns_all(error):
                    raise
                self._narrow(run_id, claimed.letters, error)
                may_be_more = True
            finally:
                self._redrive = None
                for each in OF_LETTERS:  # its watch is over
                    self._is_away(each, None)
                tally = claimed.pump.report.tally
                with suppress(AssayError):  # the books are kept elsewhere
                    runs.end(run_id, status, {"letters": claimed.letters} | vars(tally))
            return may_be_more

    def _narrow(self, run_id: str, letters: int, error: Exception) -> None:
        """A letter has broken a redrive off: fewer are taken, until it is alone and left alone."""
        self._limit = max(1, letters // 2)
        if letters > 1:
            _log.warning("a redrive broke off: fewer letters are tried", run_id=run_id)
            return
        for letter in self._services.books.latest({"redrive": run_id, "states": ("open",)}, 1):
            self._stuck.append(letter["id"])
            self._result.stuck += 1
            self._services.meter.add(metrics.LETTERS_RETRIED, 1, result="stuck")
            _log.error(
                "a letter cannot be tried again, and is left alone from now on",
                letter=letter["id"],
                run_id=run_id,
                error=str(error) if isinstance(error, AssayError) else type(error).__name__,
            )

    def _watch(self) -> Watch:
        def committed(_: Outcome, tally: Tally) -> None:
            self._beat("retry")
            self._result.retried += tally
            closed = tally.classified + tally.duplicate
            self._services.meter.add(metrics.LETTERS_RETRIED, closed, result="closed")
            self._services.meter.add(metrics.LETTERS_RETRIED, tally.rejected, result="failed")

        return Watch(
            self._services.meter,
            self._services.clock,
            PIPELINE,
            committed=committed,
            away=self._is_away,
            answered=partial(self._beat, "retry"),
        )

    # ---------------------------------------------------------------- for ever

    def go_on(self, name: str, turn: Callable[[], None], every: float) -> None:
        """Takes turns until it is to stop; what is away is tried again, ever more seldom."""
        failures = 0
        while not self._stopping.is_set():
            pause = every
            try:
                turn()
                failures = 0
                self._is_away(name, None)
            except Unavailable as error:
                failures += 1
                pause = max(every, delay(FULL_JITTER, failures, error))
                self._is_away(name, error)
            self._beat(name)
            self._stopping.wait(pause)

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Claims nothing more, ends what is under way. Safe in a signal handler."""
        if self._stopping.is_set():
            return
        self._services.health.stopping()
        self._stopping.set()
        if (claimed := self._redrive) is not None:
            claimed.stop()
        _log.warning("stopping: what is claimed is ended; a second signal ends at once")

    def _is_away(self, dependency: str, error: Unavailable | None) -> None:
        with self._lock:
            was_away = dependency in self._away
            if error is None:
                self._away.pop(dependency, None)
            else:
                self._away[dependency] = error
        waits, goes_on = _SAID[dependency]
        if error is not None and not was_away:
            _log.warning(waits, dependency=dependency, error=str(error))
            self._told.away(dependency, error)
        elif error is None and was_away:
            _log.info(goes_on, dependency=dependency)
            self._told.away(dependency, None)

    # ---------------------------------------------------------------- for those who watch

    def _beat(self, name: str) -> None:
        self._beats[name] = self._services.clock.now()

    def look(self) -> None:
        """Shows how it stands."""
        services, now = self._services, self._services.clock.now()
        services.meter.set(metrics.DATABASE_CONNECTIONS, services.connections(), pipeline=PIPELINE)
        if now >= self._looked + _SELDOM:
            self._looked = now
            with suppress(Unavailable):
                self._count()
        with self._lock:
            reasons = {each: str(self._away[each]) for each in sorted(self._away)}
        beats = list(self._beats.values())
        services.health.look(
            away=tuple(reasons),
            # Each of its threads must have come round since then.
            is_busy=not beats or min(beats) < now - services.health.stall,
            # Of what it does, `away` says that it waits, and not for whom.
            facts={
                "waiting": self._waiting,
                "published": self._result.published.total(),
                "reasons": reasons,
            },
        )
        self._log(now)

    def _count(self) -> None:
        waiting = self.waiting()
        self._waiting = sum(waiting.values())
        self._show(metrics.LETTERS_WAITING, "destination", waiting)
        codes: Counter[str] = Counter()
        for row in self._services.books.counts({"states": ("open",)}):
            codes[row["code"]] += row["letters"]
        frequent = dict(codes.most_common(_CODES))
        if rest := codes.total() - sum(frequent.values()):
            frequent["other"] = frequent.get("other", 0) + rest
        self._show(metrics.LETTERS_OPEN, "code", frequent)
        self._show_runs()

    def _show_runs(self) -> None:
        """Runs that end within minutes have nobody else who tells of them."""
        meter = self._services.meter
        for (kind, status), at in self._services.runs.ends().items():
            meter.set(metrics.RUN_END, at, kind=kind, status=status)

    def waiting(self) -> Mapping[str, int]:
        """How many letters wait that it publishes, by destination; others wait for batch runs."""
        waiting = self._services.books.waiting()
        return {to: number for to, number in waiting.items() if to.startswith(_PREFIX)}

    def _show(self, metric: metrics.Metric, label: str, values: Mapping[str, int]) -> None:
        """Sets a gauge, to 0 where there is none any more."""
        seen = self._seen.setdefault(metric, set())
        seen.update(values)
        for each in seen:
            self._services.meter.set(metric, values.get(each, 0), **{label: each})

    def _log(self, now: float) -> None:
        said = self._result.summary()
        counts = ("published", "retried")
        if now >= self._logged + _SELDOM and any(said[each] > self._said[each] for each in counts):
            self._logged, self._said = now, said
            _log.info("dead letters go on", waiting=self._waiting, **said)


def dead_letters(request: Request, services: Services, result: Result) -> None:
    """Publishes and retries until a signal asks for the end, or once.

    Raises:
        Unavailable: where it is to be done once, and something is away.
        Fatal: it does not help to go on: settings, rights.
    """
    service = _Service(request, services, result)
    told = Told(services.events, request.run_id, SERVICE)
    with told.its_life(), services.on_signal(service.stop):
        if request.once:
            _once(service, result)
        else:
            _for_ever(request, service)


def _concerns_all(error: Exception) -> bool:
    """Whether an error that broke a redrive off would break off that of any other letter.

    What is away is waited for. `Fatal` itself is what model, store or brokers say where settings,
    rights or tables are wrong: to go on would hide it. What is more special is about one source's
    records (`Unreadable`, `Denied`, `Refused`, the reject limit), and what is of no such kind is a
    defect that some record brings out: others need not wait for its mend.
    """
    return isinstance(error, Unavailable) or type(error) is Fatal


def _once(service: _Service, result: Result) -> None:
    service.look()
    service.publish()
    service.retry()
    service.publish()  # what has failed again
    result.status = "done"
    if service.is_stopping:
        result.status, result.exit_code = "interrupted", TEMPORARY
    elif waiting := sum(service.waiting().values()):
        result.status, result.exit_code = "held", TEMPORARY
        _log.warning(
            "letters wait that are claimed already or set aside: run again in some minutes",
            letters=waiting,
        )
    elif not (result.published or result.retried.read or result.stuck):
        result.status, result.exit_code = "nothing_to_do", NOTHING_TO_DO


def _for_ever(request: Request, service: _Service) -> None:
    seldom = min(max(_EVERY, request.retry_delay.total_seconds() / 10), 30)
    named = partial(bind_contextvars, **get_contextvars())
    with ThreadPoolExecutor(2, thread_name_prefix=SERVICE, initializer=named) as threads:
        jobs: list[Future[None]] = [
            threads.submit(service.go_on, "relay", service.publish, _EVERY),
            threads.submit(service.go_on, "retry", service.retry, seldom),
        ]
        try:
            while not wait(jobs, _EVERY, FIRST_COMPLETED).done:
                service.look()
        finally:
            service.stop()
    for job in jobs:
        job.result()
