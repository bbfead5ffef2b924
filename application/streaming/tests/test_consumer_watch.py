"""What a consumer tells of itself: partitions that it waits for, lag, and when it is idle."""

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import Final, TypeAlias

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from assay.domain import metrics
from assay.domain.chunk import Chunk, Idle, Revoked
from assay.domain.dependencies import OF_STREAM
from assay.domain.errors import Unavailable
from assay.domain.position import Partition, Positions
from assay.memory.classifier import MemoryClassifier
from assay.memory.clock import MemoryClock
from assay.memory.meter import MemoryMeter
from assay.memory.store import MemoryStore
from assay.pipeline.pace import Pace
from assay.pipeline.pump import Policy
from assay.ports.source import AskPositions, Drain, no_drain
from assay_streaming.consume import Request, Result, Services, consume
from assay_streaming.health import Health
from assay_streaming.progress import Line, Lines

Second: TypeAlias = Mapping[Partition, int | None] | Unavailable
"""The lag of each partition that is owned, None where it is not known; or Kafka is away."""

NONE: Final[Second] = {}
SOME: Final[Second] = {"0": 0}
STRANGER: Final[Second] = dict[Partition, int | None]()
"""The group does not know of it."""


Whole: TypeAlias = Callable[[float], tuple[int, int] | None]
"""How the whole topic stands at a time, where it is told: what is unread, and where it ends."""


def all_is_read(_: float) -> tuple[int, int]:
    return 0, 7


class Group:
    """A source that has no messages, and what is said of each second."""

    def __init__(self, clock: MemoryClock, seconds: Sequence[Second], whole: Whole) -> None:
        self._clock, self._to_come, self._whole = clock, iter(seconds), whole
        self._now: Mapping[Partition, int | None] = {}

    @property
    def assigned(self) -> Collection[Partition]:
        return self._now.keys()

    @property
    def is_member(self) -> bool:
        return self._now is not STRANGER

    def events(
        self, positions: AskPositions, drain: Drain = no_drain
    ) -> Iterator[Chunk | Revoked | Idle]:
        del positions, drain
        for second in self._to_come:
            self._clock.move(1)
            if isinstance(second, Unavailable):
                raise second
            self._now = second
            yield Idle()

    def lags(self) -> Mapping[Partition, int]:
        return {each: lag for each, lag in self._now.items() if lag is not None}

    def whole(self) -> tuple[int, int] | None:
        assert not self._now, "asked of who owns some"
        return self._whole(self._clock.now())

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


@dataclass
class Watched:
    """A consumer, and what was made of the seconds of its source."""

    executor: Executor
    seconds: Sequence[Second]
    until_idle: float | None = None
    progress: Line | Lines = field(default_factory=lambda: Lines(OF_STREAM))
    whole: Whole = all_is_read

    def __post_init__(self) -> None:
        self.clock, self.meter = MemoryClock(), MemoryMeter()
        self.health = Health(self.clock, 60)
        silent = Silent()
        services = Services(
            source=Group(self.clock, self.seconds, self.whole),
            classifier=MemoryClassifier(),
            store=MemoryStore(),
            executor=self.executor,
            clock=self.clock,
            meter=self.meter,
            pace=Pace(),
            health=self.health,
            events=silent,
            connections=lambda: 0,
            on_signal=silent.on_signal,
        )
        request = Request("r", "kafka/t", "kafka:d", "mine", 10, Policy(), self.until_idle)
        with capture_logs() as logs:
            consume(request, services, Result("r"), self.progress)
        self.said = [str(each["event"]) for each in logs]

    @property
    def waited(self) -> list[str]:
        """What it said of partitions that it waits for."""
        return [each for each in self.said if "waiting for partitions" in each]


def test_who_gets_no_partitions_says_why(executor: Executor) -> None:
    """Once, after some seconds: a dead member may have them, or there are none left."""
    (text,) = Watched(executor, [NONE] * 60).waited
    assert "a member of group mine" in text
    assert "its session is over, which takes 10 s" in text
    assert "spare" in text
    assert Watched(executor, [NONE] * 4).waited == []


def test_it_is_said_again_of_partitions_that_went(executor: Executor) -> None:
    """Who has some says nothing."""
    before = [*[NONE] * 4, *[SOME] * 20]
    assert Watched(executor, before).waited == []
    assert len(Watched(executor, [*before, *[NONE] * 8]).waited) == 1


def test_a_terminal_shows_it_above_the_line(executor: Executor) -> None:
    """In lines that are no wider than it is."""
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    with console.status("joining the group") as status:
        Watched(executor, [NONE] * 8, progress=Line(status, OF_STREAM))
    shown = " ".join(out.getvalue().split())
    assert "a member of group mine may hold them until its session is over" in shown


@pytest.mark.parametrize(
    ("second", "lag"),
    [({"0": 3, "1": 4}, 7), ({"0": 0, "1": 0}, 0), ({"0": 0, "1": None}, None), ({}, None)],
)
def test_lag_is_told_where_it_is_known(executor: Executor, second: Second, lag: int | None) -> None:
    """One partition that nothing is known of makes the sum of the others no lag."""
    _, told = Watched(executor, [second] * 3).health.ready()
    assert told["lag"] == lag


def test_the_lag_of_a_partition_that_nothing_is_known_of_stays(executor: Executor) -> None:
    """It falls to 0 for those alone that others own."""
    watched = Watched(executor, [{"0": 5, "1": 6}, {"0": None}, {"0": None}])
    lags = [watched.meter.value(metrics.LAG, pipeline="stream", partition=each) for each in "01"]
    assert lags == [5, 0]


def test_idle_is_who_has_read_all(executor: Executor) -> None:
    """An outage is no idleness, nor is a partition that nothing is known of."""

    def seconds(*second: Second) -> float:
        clock = Watched(executor, [*second, *[SOME] * 30], until_idle=5).clock
        return clock.now()

    assert seconds() < 10
    assert seconds(*[{"0": 1}] * 10) > 14
    assert seconds(*[{"0": 0, "1": None}] * 10) > 14
    assert seconds(SOME, *[Unavailable("away")] * 3) > 8


def test_a_spare_member_is_idle_once_all_is_read(executor: Executor) -> None:
    """Whoever reads it; until then it may get the partitions of a dead member."""

    def seconds(*second: Second, whole: Whole = all_is_read, until_idle: float = 5) -> float:
        seconds = [*second, *[NONE] * 90]
        return Watched(executor, seconds, until_idle, whole=whole).clock.now()

    assert 5 < seconds() < 8
    assert 1 < seconds(until_idle=0) < 3
    # Something is unread: the others read it, or nobody does.
    assert 44 < seconds(whole=lambda now: (int(now < 40), 7)) < 48
    assert seconds(whole=lambda _: (3000, 3010)) > 89
    # It is not known, as long as Kafka or the store does not tell.
    assert 34 < seconds(whole=lambda now: None if now < 30 else (0, 7)) < 38
    assert seconds(whole=lambda _: None) > 89
    # Something came, though the others have read it by now.
    assert 24 < seconds(whole=lambda now: (0, min(int(now), 20))) < 28
    assert 15 < seconds(*[STRANGER] * 10) < 18
    assert 13 < seconds(*[NONE] * 3, *[SOME] * 4, {"0": 1}) < 16
    assert 10 < seconds(*[NONE] * 3, *[Unavailable("away")] * 3) < 14


def test_a_spare_member_reads_what_comes_to_it_at_last(executor: Executor) -> None:
    """The partitions of who was killed, a session later."""
    seconds = [*[NONE] * 50, *[{"0": 1}] * 9, *[SOME] * 60]
    late = Watched(executor, seconds, until_idle=5, whole=lambda _: (1, 7))
    assert 63 < late.clock.now() < 66
