"""A consumer that gets no partitions says why."""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from assay.domain.chunk import Chunk, Idle, Revoked
from assay.domain.position import Partition, Positions
from assay.memory.classifier import MemoryClassifier
from assay.memory.clock import MemoryClock
from assay.memory.meter import MemoryMeter
from assay.memory.store import MemoryStore
from assay.pipeline.pump import Policy
from assay.ports.source import AskPositions, Drain, no_drain
from assay_streaming.consume import Request, Result, Services, consume
from assay_streaming.health import Health
from assay_streaming.progress import Line, Lines


class Group:
    """A source that has no messages, and these partitions in these seconds, one after another."""

    def __init__(self, clock: MemoryClock, assigned: list[set[Partition]]) -> None:
        self._clock, self._to_come = clock, assigned
        self.assigned: Collection[Partition] = set()

    def events(
        self, positions: AskPositions, drain: Drain = no_drain
    ) -> Iterator[Chunk | Revoked | Idle]:
        del positions, drain
        for each in self._to_come:
            self.assigned = each
            self._clock.move(1)
            yield Idle()

    def lags(self) -> Mapping[Partition, int]:
        return dict.fromkeys(self.assigned, 0)

    def pause(self, on: bool) -> None: ...  # noqa: FBT001 - as the port has it

    def rewind(self, partitions: Collection[Partition]) -> None: ...

    def ack(self, positions: Positions) -> None: ...

    def close(self) -> None: ...


class Silent:
    """Takes events, and a signal that never comes."""

    def tell(self, events: object) -> None: ...

    @contextmanager
    def on_signal(self, called: Callable[[], None]) -> Generator[list[int]]:
        del called
        yield []


@pytest.fixture
def executor() -> Iterator[Executor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


def watch(executor: Executor, progress: Line | Lines, *assigned: set[Partition]) -> None:
    clock, silent = MemoryClock(), Silent()
    services = Services(
        source=Group(clock, list(assigned)),
        classifier=MemoryClassifier(),
        store=MemoryStore(),
        executor=executor,
        clock=clock,
        meter=MemoryMeter(),
        health=Health(clock, 60),
        events=silent,
        connections=lambda: 0,
        on_signal=silent.on_signal,
    )
    request = Request("r", "kafka/t", "kafka:d", group="mine", policy=Policy())
    consume(request, services, Result("r"), progress)


def said(executor: Executor, *assigned: set[Partition]) -> list[Any]:
    with capture_logs() as logs:
        watch(executor, Lines(), *assigned)
    return [each["event"] for each in logs if "waiting for partitions" in each["event"]]


def test_who_gets_no_partitions_says_why(executor: Executor) -> None:
    """Once, after some seconds: a dead member may have them, or there are none left."""
    (text,) = said(executor, *[set[Partition]()] * 60)
    assert "a member of group mine" in text
    assert "session" in text
    assert "spare" in text
    assert said(executor, *[set[Partition]()] * 4) == []


def test_it_is_said_again_of_partitions_that_went(executor: Executor) -> None:
    """Who has some says nothing."""
    none, some = [set[Partition]()] * 4, [{"0"}] * 20
    assert said(executor, *none, *some) == []
    assert len(said(executor, *none, *some, *none, *none)) == 1


def test_a_terminal_shows_it_above_the_line(executor: Executor) -> None:
    """In lines that are no wider than it is."""
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with console.status("joining the group") as status:
        watch(executor, Line(status), *[set[Partition]()] * 8)
    shown = " ".join(out.getvalue().split())
    assert "a member of group mine may hold them until its session is over" in shown
