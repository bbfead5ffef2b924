"""The pump: the one loop of the product.

    read -> decode -> validate -> classify -> commit -> ack

Batch runs, streams, redrives and connectors differ in source, classifier and store only. The pump
runs in one thread, which never sleeps in a worker's place: workers make one attempt each, and the
pump keeps when to try again.
"""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import polars as pl

from assay.domain import metrics
from assay.domain.chunk import Chunk, Idle, Revoked
from assay.domain.errors import (
    AssayError,
    Fenced,
    Refused,
    RejectLimitExceeded,
    Unavailable,
)
from assay.domain.outcome import Outcome
from assay.domain.position import Partition, Position, Positions, Range
from assay.domain.tally import Tally
from assay.pipeline.bisect import Ask, answered, refused
from assay.pipeline.breaker import Breaker
from assay.pipeline.inflight import Decode, Flight, Prepared, Window, prepare
from assay.pipeline.limit import ENOUGH, RejectLimit
from assay.pipeline.pace import Pace
from assay.pipeline.retry import FULL_JITTER, delay
from assay.pipeline.watch import Watch
from assay.ports.classifier import Classifier
from assay.ports.clock import Clock
from assay.ports.source import Source
from assay.ports.store import Store
from assay.ports.tracer import Trace

_LAST: Final = 60.0  # seconds that a commit may take when the pump has failed


@dataclass(frozen=True)
class Policy:
    """How patient a pump is, and how much it takes on at a time.

    Attributes:
        window_chunks, window_bytes: bounds of what is read and not committed yet.
        tick: seconds that it waits at most for something to happen.
        attempts: how often a record is asked about whose verdict is `retry`.
        patience: seconds that a dependency may be away before the run ends with `Unavailable`;
            None waits for ever.
        reject_limit: the share of rejected records that is accepted.
        drain: seconds in which what is given up may still be committed: partitions, or all that
            was read when the pump is stopped.
        alone: a partition that is fenced or over the reject limit is given up alone and the
            others go on (files); else a fenced one is rewound and the limit ends the run (streams).
        advice: what to do where the reject limit is exceeded; None: as files or streams need it.
    """

    window_chunks: int = 3
    window_bytes: int = 64 << 20
    tick: float = 0.1
    attempts: int = 3
    patience: float | None = None
    reject_limit: float = 0.5
    drain: float = 5.0
    alone: bool = False
    advice: str | None = None


@dataclass(frozen=True)
class Report:
    """What a pump has done.

    Attributes:
        tally: of all ranges that it committed.
        given_up: partitions that it gave up alone, and why.
    """

    tally: Tally = field(default_factory=Tally)
    given_up: dict[Partition, AssayError] = field(default_factory=dict[Partition, AssayError])


class Pump:
    """Moves a source's records through the classifier into the store, exactly once in effect.

    Whatever fails, what is committed stays as it is, and what is not is handed out again by the
    source: the pump may be ended between any two of its steps.
    """

    def __init__(
        self,
        *,
        run_id: str,
        source_name: str,
        destination: str,
        source: Source,
        decode: Decode,
        classifier: Classifier | None,
        store: Store,
        executor: Executor,
        clock: Clock,
        watch: Watch,
        policy: Policy = Policy(),
        pace: Pace | None = None,
    ) -> None:
        """Composes a pump.

        Args:
            run_id: of the run that it works for.
            source_name: under which the store keeps positions and ledger.
            destination: where relays publish the rejects.
            source: read from one thread, the one that calls `run`.
            decode: run by workers; where it raises `Unavailable`, it is run again later.
            classifier: called by workers; None where all records come with their predictions.
            store: called by workers for commits, and by the source's thread for positions.
            executor: the workers. Belongs to the caller, who shuts it down.
            clock: monotonic.
            watch: told what happens, in the thread of `run`.
            policy: patience and bounds.
            pace: how much is taken on at a time within these; a source may ask it as well.
        """
        self._run_id, self._name, self._destination = run_id, source_name, destination
        self._source, self._decode, self._classifier = source, decode, classifier
        self._store, self._executor, self._clock = store, executor, clock
        self._watch, self._policy = watch, policy
        self._window = Window(policy.window_chunks, policy.window_bytes)
        self._pace = pace or Pace(chunks=policy.window_chunks)
        self._limit = RejectLimit(policy.reject_limit)
        self._to_source, self._to_records, self._to_classifier, self._to_store = self._breakers = (
            Breaker("source"),
            Breaker("records"),
            Breaker("classifier"),
            Breaker("store"),
        )
        self._commit: Future[tuple[Tally, float]] | None = None
        self._counted: dict[Partition, Range] = {}  # the latest of each
        self._ends_at: float | None = None
        self.report = Report()

    def run(self) -> Report:
        """Pumps until the source has nothing more, or `stop`.

        Raises:
            Unavailable: a dependency was away for longer than the policy's patience.
            RejectLimitExceeded: unless partitions are given up alone.
            Fatal: nothing that the pump could do helps.
        """
        for _ in self.steps():
            pass
        return self.report

    def stop(self) -> None:
        """Reads nothing more, commits the window as far as it goes in time, then ends.

        Whoever is away is not waited for. Safe in a signal handler.
        """
        self._ends_at = self._clock.now() + self._policy.drain

    @property
    def away(self) -> tuple[str, ...]:
        """The dependencies that count as away: source, records, classifier, store."""
        now = self._clock.now()
        return tuple(each.name for each in self._breakers if each.is_open(now))

    @property
    def is_asking(self) -> bool:
        """Whether a call is under way; each has a limit of its own."""
        return self._commit is not None or any(flight.calls for flight in self._window)

    @property
    def is_failing(self) -> bool:
        """Whether a dependency's last answer was that it is away, and it is asked again."""
        return any(each.last_error for each in self._breakers)

    def steps(self) -> Iterator[None]:
        """The same as `run`, one event of the source at a time."""
        try:
            yield from self._steps()
        except Exception:
            self._end_commit()
            raise
        finally:
            for flight in self._window:
                flight.ends(None)

    def _steps(self) -> Iterator[None]:
        events: Iterator[Chunk | Revoked | Idle] | None = None
        exhausted = False
        while True:
            self._advance()
            if self._is_over(exhausted=exhausted):
                return
            held = self._ends_at is not None or self._window.is_full or self._is_held_back()
            self._source.pause(held)
            event: Chunk | Revoked | Idle | None = None
            now = self._clock.now()
            # To begin, a source asks where the store stands.
            if self._to_source.allows(now) and (events or self._to_store.allows(now)):
                self._to_source.began(now)
                try:
                    events = events or self._source.events(self._positions, self._drain)
                    event = next(events, None)
                    exhausted = event is None
                    # That partitions are lost may be all that an outage lets through.
                    if isinstance(event, Revoked):
                        self._to_source.returned()
                    else:
                        self._to_source.succeeded(self._clock.now())
                except Unavailable as error:
                    events = None
                    if error is self._to_store.last_error:
                        self._to_source.returned()
                    else:
                        self._to_source.failed(self._clock.now(), error)
            match event:
                case Chunk():
                    self._take(event, self._clock.now() - now)
                case Revoked():
                    self._window.leave(event.partitions)
                case _ if held or len(self._window) or self.is_failing:
                    self._clock.wait(self._jobs(), self._policy.tick)
                case _:
                    pass  # the source has waited for something to come
            yield

    def _is_over(self, *, exhausted: bool) -> bool:
        if self._ends_at is None:
            return exhausted and len(self._window) == 0
        if len(self._window) == 0:
            return True
        away = any(each.last_error for each in self._breakers if each is not self._to_source)
        return self._commit is None and (away or self._clock.now() >= self._ends_at)

    def _is_held_back(self) -> bool:
        # With an empty window the next chunk is the probe.
        now = self._clock.now()
        away = any(each.is_open(now) for each in self._breakers if each is not self._to_source)
        return len(self._window) > 0 and away

    def _jobs(self) -> list[Future[Any]]:
        return self._window.jobs() + ([self._commit] if self._commit is not None else [])

    # ------------------------------------------------------------------ read

    def _take(self, chunk: Chunk, seconds: float) -> None:
        rest = chunk.without(self.report.given_up.keys())
        if rest.ranges:
            flight = self._window.append(rest)
            flight.trace = self._watch.took(
                rest, run_id=self._run_id, source=self._name, seconds=seconds
            )
            self._prepare(flight)

    def _prepare(self, flight: Flight) -> None:
        """Has a chunk decoded, unless what it takes to read its records is away."""
        if self._to_records.allows(now := self._clock.now()):
            self._to_records.began(now)
            flight.job = self._executor.submit(self._decoded, flight)

    def _decoded(self, flight: Flight) -> Prepared:
        with self._watch.step(flight.trace, "decode", flight.chunk.records.height):
            return prepare(flight.chunk, self._decode)

    def _positions(self, partitions: Sequence[Partition]) -> Positions:
        """What the source is told: the store's positions, and that what was given up is over."""
        given_up = self.report.given_up
        asked = [each for each in partitions if each not in given_up]
        found = dict(self._ask_store(asked)) if asked else {}
        ended = {each: Position(0, "finished") for each in partitions if each in given_up}
        return found | ended

    def _ask_store(self, partitions: Sequence[Partition]) -> Positions:
        if not self._to_store.allows(now := self._clock.now()):
            raise self._to_store.last_error or Unavailable("the store is away")
        self._to_store.began(now)
        try:
            found = self._store.positions(self._name, partitions)
            scopes = (
                [each for each, at in found.items() if at.end != "finished"]
                if self._policy.alone
                else [None]
            )
            for scope in scopes:
                recent = self._store.recent(self._name, scope, ENOUGH)
                self._limit.seed(scope or self._name, recent)
        except Unavailable as error:
            self._to_store.failed(self._clock.now(), error)
            raise
        self._to_store.succeeded(self._clock.now())
        return found

    def _drain(self, partitions: Collection[Partition]) -> None:
        """Commits what was read of these, as far as it goes in time: called out of an event."""
        deadline = self._clock.now() + self._policy.drain
        while self._window.holds(partitions) and not self._is_held_back():
            self._advance()
            if (left := deadline - self._clock.now()) <= 0:
                return
            self._clock.wait(self._jobs(), min(left, self._policy.tick))

    # ------------------------------------------------------------------ decode, classify

    def _advance(self) -> None:
        """Takes up what the workers have done, and gives them what can be done next."""
        self._finish_commit()
        for flight in self._window:
            if flight.job is not None and flight.job.done():
                self._finish_preparing(flight, flight.job)
            for job in [each for each in flight.calls if each.done()]:
                self._finish_call(flight, job)
        while (head := self._window.head) is not None and self._is_empty(head):
            head.ends(None)
            self._window.pop()
        for flight in self._window:
            if flight.prepared is None and flight.job is None and flight.ranges:
                self._prepare(flight)
            self._ask(flight)
        self._begin_commit()
        self._sort_early()
        self._pace.looked(self._clock.now(), is_short=self._is_short())
        self._watch.look(self._window, self._breakers, self._pace)
        self._lose_patience()

    def _is_empty(self, head: Flight) -> bool:
        """Whether nothing is left of the head, nor under way for it."""
        return not (head.ranges or head.jobs) and self._commit is None

    def _finish_preparing(self, flight: Flight, job: Future[Any]) -> None:
        flight.job = None
        try:
            prepared = job.result()
        except Unavailable as error:
            self._to_records.failed(self._clock.now(), error)
            return
        self._to_records.succeeded(self._clock.now())
        flight.is_prepared(prepared)

    def _finish_call(self, flight: Flight, job: Future[Any]) -> None:
        ask = flight.calls.pop(job)
        now, records = self._clock.now(), ask.transactions.height
        flight.answered_at = now
        try:
            verdicts, seconds = job.result()
        except Unavailable as error:
            self._to_classifier.failed(now, error)
            self._watch.attempt("classifier", "unavailable")
            if error.too_much:
                self._pace.too_much(records)
            self._pace.away()
            flight.is_smooth = False
            flight.asks.append(ask)
            return
        except Refused as error:
            self._to_classifier.succeeded(now)
            self._watch.attempt("classifier", "refused")
            if error.too_much:
                self._pace.too_much(records)
            flight.is_smooth = False
            flight.has_learnt(refused(ask, str(error)))
            self._judge_early(flight)
            return
        self._to_classifier.succeeded(now)
        self._watch.attempt("classifier", "ok")
        self._pace.answered(records, seconds, now)
        step = answered(ask, verdicts, attempts=self._policy.attempts)
        later = now + delay(FULL_JITTER, ask.attempt)
        again = tuple(replace(each, not_before=later) for each in step.again)
        flight.is_smooth = flight.is_smooth and not again
        flight.has_learnt(step._replace(again=again))

    def _is_short(self) -> bool:
        """Whether there is nothing else to do than to wait for the classifier."""
        head = self._window.head
        if head is None or not head.calls or self._commit is not None:
            return False
        under_way = sum(len(flight.calls) for flight in self._window)
        return self._window.is_full or under_way >= self._pace.calls

    def _ask(self, flight: Flight) -> None:
        """Asks about a flight as much as may be asked at once; the earlier ones come first."""
        while flight.ranges and flight.asks and self._has_room():
            now = self._clock.now()
            if not self._to_classifier.allows(now):
                return
            ask = flight.next_ask(now, self._pace.share)
            if ask is None:
                return
            self._to_classifier.began(now)
            if flight.asked_at is None:
                flight.asked_at = now
            flight.calls[self._executor.submit(self._classify, ask, flight.trace)] = ask

    def _has_room(self) -> bool:
        """Whether another call may be under way; a worker is left for the commit."""
        calls = sum(len(flight.calls) for flight in self._window)
        decoding = sum(flight.job is not None for flight in self._window)
        return calls < self._pace.calls and calls + decoding < self._pace.most_calls

    def _classify(self, ask: Ask, trace: Trace | None) -> tuple[pl.DataFrame, float]:
        if self._classifier is None:
            raise TypeError("records without predictions need a classifier")
        began = self._clock.now()
        step = self._watch.step(trace, "classify", ask.transactions.height)
        with step, self._watch.timed(metrics.CLASSIFY_SECONDS):
            verdicts = self._classifier.classify(ask.transactions)
        return verdicts, self._clock.now() - began

    # ------------------------------------------------------------------ the reject limit

    def _scopes(self, flight: Flight) -> list[tuple[str, Partition | None, bool]]:
        """What a flight is judged as: each of its files alone, or the stream as a whole."""
        if self._policy.alone:
            return [
                (each.partition, each.partition, each.end is not None or flight.chunk.is_last)
                for each in flight.ranges
            ]
        return [(self._name, None, False)]

    def _judge_early(self, flight: Flight) -> None:
        """While a call is bisected: what is found so far is judged like a small chunk."""
        for scope, partition, _ in self._scopes(flight):
            found = flight.found(partition)
            if self._limit.is_exceeded(scope, found):
                self._exceed(scope, partition, found, flight)

    def _judge(self, flight: Flight) -> bool:
        """Whether what is left of a flight may be committed."""
        for scope, partition, ended in self._scopes(flight):
            found = flight.found(partition)
            if self._limit.is_exceeded(scope, found, ended=ended):
                self._exceed(scope, partition, found, flight)
        return bool(flight.ranges)

    def _exceed(
        self, scope: str, partition: Partition | None, found: Tally, flight: Flight
    ) -> None:
        judged = self._limit.judged(scope, found)
        codes = _most_frequent(flight)
        # Files are read as their contract says; a stream has none.
        advice = self._policy.advice or (
            "If the format has changed, mend the contract"
            if self._policy.alone
            else "If what is sent has changed, mend the producer; if the answers have, the model"
        )
        error = RejectLimitExceeded(
            f"{judged.rejected:,} of the last {judged.read:,} records of {scope} were rejected "
            f"(now: {codes}); nothing of this chunk is committed. {advice}; "
            "if they are to be rejected, run with --reject-limit 1"
        )
        if partition is None:
            raise error
        self._give_up([partition], error)

    def _give_up(self, partitions: Collection[Partition], error: AssayError) -> None:
        self.report.given_up.update(dict.fromkeys(partitions, error))
        self._rewind(partitions)

    def _rewind(self, partitions: Collection[Partition]) -> None:
        self._window.leave(partitions)
        self._source.rewind(partitions)

    # ------------------------------------------------------------------ commit, ack

    def _begin_commit(self) -> None:
        head = self._window.head
        if head is None or not head.is_ready or self._commit is not None:
            return
        if not self._to_store.allows(self._clock.now()) or not self._judge(head):
            return
        head.outcome = (head.outcome or self._sort(head)).without(head.gone)
        self._to_store.began(self._clock.now())
        self._commit = self._executor.submit(self._store_outcome, head.outcome, head.trace)

    def _sort_early(self) -> None:
        """Sorts by doors what waits for the commit before it, so that its own can begin at once."""
        if self._commit is None:
            return
        for flight in self._window:
            if flight.is_ready and flight.outcome is None:
                flight.outcome = self._sort(flight)

    def _sort(self, flight: Flight) -> Outcome:
        classified, rejects = flight.sorted_by_door()
        return Outcome(
            run_id=self._run_id,
            source=self._name,
            destination=self._destination,
            ranges=flight.chunk.ranges,
            records=flight.chunk.records,
            headers=flight.chunk.headers,
            classified=classified,
            rejects=rejects,
            accepts_rejects=self._limit.is_raised,
            originals=flight.originals,
        )

    def _store_outcome(self, outcome: Outcome, trace: Trace | None) -> tuple[Tally, float]:
        began = self._clock.now()
        step = self._watch.step(trace, "commit", sum(each.read for each in outcome.ranges))
        with step, self._watch.timed(metrics.COMMIT_SECONDS):
            tally = self._store.commit(outcome)
        return tally, self._clock.now() - began

    def _finish_commit(self) -> None:
        job, head = self._commit, self._window.head
        outcome = None if head is None else head.outcome
        if job is None or outcome is None or head is None or not job.done():
            return
        self._commit = None
        try:
            tally, seconds = job.result()
        except Unavailable as error:
            # Whether it was committed is not known; the same outcome tells on the next attempt.
            self._to_store.failed(self._clock.now(), error)
            self._watch.attempt("store", "unavailable")
            return
        except Fenced as error:
            self._to_store.succeeded(self._clock.now())
            self._watch.attempt("store", "fenced")
            lost = {each.partition for each in error.ranges}
            if self._policy.alone:
                self._give_up(lost, error)
            else:
                self._rewind(lost)
            return
        self._to_store.succeeded(self._clock.now())
        self._watch.attempt("store", "ok")
        self._pace.committed(head.chunk.records.height, max(head.seconds, seconds))
        head.ends(tally)
        self._window.pop()
        still_owned = [each for each in outcome.ranges if each in head.ranges]
        self._source.ack({each.partition: each.position for each in still_owned})
        counted = {each.partition: each for each in outcome.ranges}
        # A partition that was away during its commit is read again: the store says the same twice.
        if not counted.items() <= self._counted.items():
            self._counted |= counted
            self._keep_books(head, tally)
            self._watch.committed(outcome, tally)

    def _end_commit(self) -> None:
        """A commit that is under way when the pump fails counts like others: the books have it."""
        if (job := self._commit) is None:
            return
        until = self._clock.now() + _LAST
        while not job.done():
            if self._clock.now() >= until:
                return
            self._clock.wait((job,), self._policy.tick)
        with suppress(AssayError):  # what has failed before is to be told
            self._finish_commit()

    def _keep_books(self, flight: Flight, tally: Tally) -> None:
        self.report = replace(self.report, tally=self.report.tally + tally)
        scopes = self._scopes(flight)
        for scope, partition, _ in scopes:
            # Of several files the store's tally is the sum; what was found is known of each.
            self._limit.record(scope, tally if len(scopes) == 1 else flight.found(partition))

    # ------------------------------------------------------------------ patience

    def _lose_patience(self) -> None:
        patience = self._policy.patience
        for breaker in self._breakers:
            away = breaker.failing_for(self._clock.now())
            if patience is not None and away > patience and breaker.last_error is not None:
                raise Unavailable(
                    f"{breaker.last_error}, and has been for {away:.0f} s. "
                    "Run again when it is back: what is committed stays, the rest is resumed"
                ) from breaker.last_error


def _most_frequent(flight: Flight) -> str:
    codes: dict[str, int] = {}
    for frame in flight.rejects.frames:
        for code in frame["code"]:
            codes[code] = codes.get(code, 0) + 1
    ranked = sorted(codes.items(), key=lambda each: -each[1])
    return ", ".join(f"{code} {count:,}" for code, count in ranked[:3])
