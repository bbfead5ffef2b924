"""Dead letters under everything that happens: two redrives at once, killed, fenced, interrupted.

A state machine chooses what happens next: records are rejected, redrives begin and work step by
step, workers finish in any order, dependencies fail before or after they did their work, leases run
out, processes die while their workers' last jobs may still go through. In the end one healthy
redrive tries what is left, and each letter must be closed or open with the attempts that it had.
"""

import json
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import timedelta

import polars as pl
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from assay.domain.errors import Fenced, Unavailable
from assay.domain.tally import Tally
from assay.memory.classifier import MemoryClassifier
from assay.memory.clock import MemoryClock
from assay.memory.executor import SteppingExecutor
from assay.memory.meter import MemoryMeter
from assay.memory.selection import MemorySelection
from assay.memory.store import MemoryStore
from assay.pipeline.letters import Reading
from assay.pipeline.redrive import Redrive, Request, Services, redrive
from assay.pipeline.watch import Watch
from assay.testing.frames import outcome

SOURCE = "kafka/topic"
LEASE = 100.0
KINDS = ("good", "good", "good", "reject", "poison", "broken")
POINTS = st.sampled_from(
    ["classify", "classify.done", "commit", "commit.done", "positions", "claim", "page", "renew"]
)


def message(kind: str, number: int, text: str) -> bytes:
    """A record that can be read, unless it is broken."""
    if kind == "broken":
        return b"no json"
    columns = {
        "id": f"{kind}-{number}",
        "description": text,
        "amount": "3.80",
        "currency": "EUR",
        "timestamp": "2024-05-02T08:15:00Z",
        "operation_type": "payment",
        "side": "debit",
    }
    return json.dumps(columns).encode()


RECORDS = st.builds(
    message, st.sampled_from(KINDS), st.integers(0, 6), st.sampled_from(["one", "another"])
)


@dataclass
class Running:
    """A redrive that is under way."""

    held: AbstractContextManager[Redrive]
    redrive: Redrive
    executor: SteppingExecutor

    def __post_init__(self) -> None:
        self.steps = self.redrive.pump.steps()


class Redrives(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store, self.clock = MemoryStore(), MemoryClock()
        named = {kind: {f"{kind}-{number}" for number in range(7)} for kind in KINDS}
        self.classifier = MemoryClassifier(poison=named["poison"], rejects=named["reject"])
        self.slots: list[Running | None] = [None, None]
        self.dead: list[Running] = []  # kept, so that nothing of them is tidied up
        self.runs = 0
        self.letters = 0

    def _open(self, limit: int | None) -> Running | None:
        self.runs += 1
        run_id = f"redrive-{self.runs}"
        executor = SteppingExecutor()
        selection = MemorySelection(
            self.store, run_id, lease=timedelta(seconds=LEASE), now=self.clock.now
        )
        services = Services(selection, self.store, self.classifier, executor, self.clock)
        request = Request(run_id, {}, Reading(), limit=limit, chunk_records=2)
        held = redrive(request, services, Watch(MemoryMeter(), self.clock, "redrive"))
        try:
            return Running(held, held.__enter__(), executor)
        except Unavailable:
            return None

    def _step(self, who: int) -> None:
        running = self.slots[who]
        if running is None:
            return
        try:
            if next(running.steps, "ended") is None:
                return
            given_up = running.redrive.pump.report.given_up.values()
            assert all(isinstance(each, Fenced) for each in given_up)
        except Fenced:
            pass
        self.slots[who] = None
        running.held.__exit__(None, None, None)
        self.dead.append(running)  # its workers may be at it still

    # ---------------------------------------------------------------- what happens

    @rule(raws=st.lists(RECORDS, min_size=1, max_size=5))
    def reject(self, raws: list[bytes]) -> None:
        given = outcome(
            [], rejected=[None] * len(raws), first=self.letters, source=SOURCE, run="stream"
        )
        self.store.faults.planned.pop("commit", None)
        self.store.faults.planned.pop("commit.done", None)
        self.store.commit(replace(given, records=given.records.with_columns(raw=pl.Series(raws))))
        self.letters += len(raws)

    @rule(who=st.integers(0, 1), limit=st.none() | st.integers(1, 5))
    def begin(self, who: int, limit: int | None) -> None:
        if self.slots[who] is None:
            self.slots[who] = self._open(limit)

    @rule(who=st.integers(0, 1), steps=st.integers(1, 6))
    def pump(self, who: int, steps: int) -> None:
        for _ in range(steps):
            self._step(who)

    @rule(who=st.integers(0, 1), jobs=st.lists(st.integers(0, 5), min_size=1, max_size=6))
    def work(self, who: int, jobs: list[int]) -> None:
        if (running := self.slots[who]) is not None:
            for each in jobs:
                running.executor.step(each)

    @rule(who=st.integers(0, 1), turns=st.integers(1, 12))
    def go_on(self, who: int, turns: int) -> None:
        for _ in range(turns):
            self._step(who)
            self.work(who, [0])

    @rule(who=st.integers(0, 1), turns=st.integers(0, 7))
    def overtake(self, who: int, turns: int) -> None:
        """It stands still for longer than its lease, another takes its letters, it goes on."""
        self.begin(who, None)
        self.go_on(who, turns)
        self._step(who)
        self.clock.move(1.5 * LEASE)
        self.kill(1 - who)
        self.slots[1 - who] = self._open(None)
        self.work(who, [0] * 6)

    @rule(who=st.integers(0, 1))
    def stop(self, who: int) -> None:
        if (running := self.slots[who]) is not None:
            running.redrive.stop()

    @rule(who=st.integers(0, 1))
    def kill(self, who: int) -> None:
        if (running := self.slots[who]) is not None:
            self.slots[who] = None
            self.dead.append(running)

    @rule(which=st.integers(0, 5), job=st.integers(0, 5))
    def arrive_late(self, which: int, job: int) -> None:
        if self.dead:
            self.dead[which % len(self.dead)].executor.step(job)

    @rule(point=POINTS, times=st.integers(1, 4))
    def fail(self, point: str, times: int) -> None:
        faults = self.classifier.faults if point.startswith("classify") else self.store.faults
        faults.plan(point, *(Unavailable("away") for _ in range(times)))

    @rule(seconds=st.sampled_from([1.0, 40.0, 150.0]))
    def wait(self, seconds: float) -> None:
        self.clock.move(seconds)

    # ---------------------------------------------------------------- what must hold

    @invariant()
    def books_balance(self) -> None:
        total = sum((each.tally for each in self.store.ledger if each.source == "redrive"), Tally())
        letters = list(self.store.letters.values())
        assert len(letters) == self.letters
        states = Counter(each["state"] for each in letters)
        actions = Counter(each["action"] for each in self.store.actions)
        assert total.balances
        assert states["closed"] == actions["closed"] == total.classified + total.duplicate
        assert sum(int(str(each["attempt"])) - 1 for each in letters) == total.rejected
        assert actions["failed"] == total.rejected
        assert len(self.store.transactions) == total.classified
        tried = Counter(each["letter"] for each in self.store.actions if each["action"] == "failed")
        for each in letters:
            assert each["attempt"] == 1 + tried[each["id"]]

    def teardown(self) -> None:
        for running in [*self.dead, *(each for each in self.slots if each is not None)]:
            while running.executor.queue:
                running.executor.step()
        self.books_balance()
        self.store.faults.planned.clear()
        self.classifier.faults.planned.clear()
        self.clock.move(10 * LEASE)
        before = {origin: each["attempt"] for origin, each in self.store.letters.items()}
        last = self._open(None)
        assert last is not None
        self.slots = [last, None]
        for _ in range(3000):
            if self.slots[0] is None:
                break
            self._step(0)
            last.executor.step()
        else:
            raise AssertionError("the redrive does not end")
        self.books_balance()
        for origin, letter in self.store.letters.items():
            self._is_settled(letter, was=before[origin])

    def _is_settled(self, letter: dict[str, object], was: object) -> None:
        raw = letter["raw"]
        assert isinstance(raw, bytes)
        record = json.loads(raw) if raw.startswith(b"{") else {"id": "broken"}
        kept = self.store.transactions.get(record["id"])
        succeeds = kept is not None and kept["description"] == record["description"]
        assert record["id"].startswith("good") == (kept is not None)
        assert letter["state"] == ("closed" if succeeds else "open")
        if not succeeds:
            assert letter["attempt"] == int(str(was)) + 1


TestRedrives = Redrives.TestCase
TestRedrives.settings = settings(max_examples=40, stateful_step_count=50)
