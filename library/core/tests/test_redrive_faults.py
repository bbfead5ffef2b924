"""What becomes of a redrive's claim, and of letters whose records are not at hand just now."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import polars as pl
import pytest

from assay.domain.errors import Unavailable
from assay.domain.position import Partition
from assay.memory.classifier import MemoryClassifier
from assay.memory.clock import MemoryClock
from assay.memory.executor import SteppingExecutor
from assay.memory.meter import MemoryMeter
from assay.memory.selection import MemorySelection
from assay.memory.store import MemoryStore
from assay.pipeline.letters import LetterSource, Reading
from assay.pipeline.pump import Policy
from assay.pipeline.redrive import Request, Services, redrive
from assay.pipeline.watch import Watch
from assay.testing.frames import outcome

WHOLE = (
    b'{"id":"M1","description":"TEA","amount":"2.50","currency":"EUR","side":"debit",'
    b'"timestamp":"2024-05-02T08:15:00Z","operation_type":"payment"}'
)


class Memory:
    """One letter that holds the head of its record, and what a redrive of it is composed of."""

    def __init__(self) -> None:
        self.store, self.clock = MemoryStore(), MemoryClock()
        executor = SteppingExecutor()
        self.clock.while_waiting = executor.step
        given = outcome([], rejected=["M1"], source="kafka/topic", run="stream")
        records = given.records.with_columns(
            raw=pl.lit(WHOLE[:10]), sha256=pl.lit(sha256(WHOLE).digest())
        )
        self.store.commit(replace(given, records=records))
        self.services = Services(
            MemorySelection(self.store, "run", lease=timedelta(minutes=5), now=self.clock.now),
            self.store,
            MemoryClassifier(),
            executor,
            self.clock,
        )
        self.told: list[tuple[str, bool]] = []

    def watch(self) -> Watch:
        def away(dependency: str, error: Unavailable | None) -> None:
            self.told.append((dependency, error is not None))

        return Watch(MemoryMeter(), self.clock, "redrive", away=away)


def request(
    whole: Callable[[str, Partition, int], bytes], *, patience: float | None = None
) -> Request:
    return Request("run", {}, Reading(whole=whole), Policy(patience=patience))


def test_what_is_claimed_is_free_however_early_a_redrive_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also by a signal that comes before anything was composed."""
    memory = Memory()

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(LetterSource, "__init__", interrupted)
    asked = Request("run", {}, Reading())
    with pytest.raises(KeyboardInterrupt), redrive(asked, memory.services, memory.watch()):
        raise AssertionError
    assert memory.store.redrives == {}


def test_records_that_are_away_are_waited_for() -> None:
    """The claim is kept meanwhile, however long it takes, and no attempt is counted."""
    memory = Memory()

    def whole(*_: object) -> bytes:
        memory.clock.move(10)
        if memory.clock.now() < 1_000:
            raise Unavailable("Kafka is away")
        return WHOLE

    with redrive(request(whole), memory.services, memory.watch()) as claimed:
        assert claimed.run().classified == 1
    assert memory.told == [("records", True), ("records", False)]
    assert [each["attempt"] for each in memory.store.letters.values()] == [1]


def test_records_that_are_away_for_longer_than_patience_end_a_redrive() -> None:
    """Not before, and the letter is free again."""
    memory = Memory()

    def whole(*_: object) -> bytes:
        raise Unavailable("Kafka is away")

    with (
        redrive(request(whole, patience=300), memory.services, memory.watch()) as claimed,
        pytest.raises(Unavailable, match="Kafka is away, and has been for"),
    ):
        claimed.run()
    assert 300 < memory.clock.now() < 400
    assert memory.store.redrives == {}
