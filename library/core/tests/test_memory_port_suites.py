"""The guarantees of the ports, on the adapters in memory."""

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from functools import partial
from itertools import repeat

import pytest

from assay.domain.metrics import Metric
from assay.domain.position import Partition
from assay.memory.classifier import MemoryClassifier
from assay.memory.letters import MemoryLetters
from assay.memory.meter import MemoryMeter
from assay.memory.objects import MemoryObjects
from assay.memory.selection import MemorySelection
from assay.memory.source import MemorySource
from assay.memory.store import MemoryStore
from assay.memory.target import MemoryTarget
from assay.memory.tracer import MemoryTracer
from assay.ports.classifier import Classifier
from assay.ports.letters import Letters
from assay.ports.meter import Meter
from assay.ports.objects import Objects
from assay.ports.source import Source
from assay.ports.store import Store
from assay.ports.target import Target
from assay.ports.tracer import Tracer
from assay.testing.classifier import ClassifierSuite
from assay.testing.letters import LettersSuite, MakeLetters
from assay.testing.meter import MeterSuite
from assay.testing.objects import ObjectsSuite
from assay.testing.selection import MakeSelection, SelectionSuite
from assay.testing.source import MakeSource, SharedSourceSuite
from assay.testing.store import IdStoreSuite
from assay.testing.target import TargetSuite
from assay.testing.tracer import Told, TracerSuite


class TestMemoryStore(IdStoreSuite):
    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        return repeat(MemoryStore()).__next__


class TestMemoryTarget(TargetSuite):
    @pytest.fixture
    def target(self) -> Target:
        return MemoryTarget()

    def held(self, target: Target) -> Mapping[str, Mapping[str, object]]:
        assert isinstance(target, MemoryTarget)
        return {name: {**row, "amount": str(row["amount"])} for name, row in target.held.items()}


class TestMemoryLetters(LettersSuite):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()

    @pytest.fixture
    def make_letters(self, store: Store) -> MakeLetters:
        assert isinstance(store, MemoryStore)

        def make(relay: str, *, lease: timedelta) -> MemoryLetters:
            return MemoryLetters(store, relay, lease=lease, now=lambda: 0.0)

        return make


class TestMemorySelection(SelectionSuite):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()

    @pytest.fixture
    def letters(self, store: Store) -> Letters:
        return MemoryLetters(_memory(store), "one", lease=timedelta(hours=1), now=lambda: 0.0)

    @pytest.fixture
    def make_selection(self, store: Store) -> MakeSelection:
        return partial(MemorySelection, _memory(store), now=lambda: 0.0)

    def facts(self, store: Store) -> list[tuple[object, ...]]:
        names = ("id", "state", "code", "attempt", "run_id")
        return [tuple(each[name] for name in names) for each in _memory(store).letters.values()]

    def actions(self, store: Store) -> list[tuple[object, ...]]:
        names = ("letter", "action", "code", "run_id", "edits")
        return [tuple(each[name] for name in names) for each in _memory(store).actions]

    def expire(self, store: Store, run_id: str) -> None:
        _memory(store).redrives[run_id].until = 0.0


def _memory(store: Store) -> MemoryStore:
    assert isinstance(store, MemoryStore)
    return store


class TestMemoryObjects(ObjectsSuite):
    @pytest.fixture
    def objects(self) -> Objects:
        return MemoryObjects()

    @pytest.fixture
    def root(self) -> str:
        return "memory://bucket/in/"

    @pytest.fixture
    def nowhere(self) -> str:
        return "memory://elsewhere/"


class TestMemoryClassifier(ClassifierSuite):
    @pytest.fixture
    def classifier(self) -> Classifier:
        return MemoryClassifier()


class TestMemoryMeter(MeterSuite):
    @pytest.fixture
    def meter(self) -> Meter:
        return MemoryMeter()

    def read(self, meter: Meter, metric: Metric, **labels: str) -> float:
        assert isinstance(meter, MemoryMeter)
        if metric.kind == "histogram":
            return len(meter.observations.get((metric.name, frozenset(labels.items())), []))
        return meter.value(metric, **labels)


class TestMemorySource(SharedSourceSuite):
    @pytest.fixture
    def make_source(self) -> MakeSource:
        def make(logs: Mapping[str, Sequence[bytes]]) -> tuple[Source, dict[str, Partition]]:
            copied: dict[Partition, list[bytes | None]] = {
                name: list(log) for name, log in logs.items()
            }
            return MemorySource(copied, owned=set(copied)), {name: name for name in logs}

        return make

    def ask_back(self, source: Source) -> None:
        memory = _memory_source(source)
        memory.ask_back(sorted(memory.owned)[:1])

    def owned(self, source: Source) -> Collection[Partition]:
        return _memory_source(source).owned


def _memory_source(source: Source) -> MemorySource:
    assert isinstance(source, MemorySource)
    return source


class TestMemoryTracer(TracerSuite):
    @pytest.fixture
    def tracer(self) -> Tracer:
        return MemoryTracer()

    def told(self, tracer: Tracer) -> Told:
        assert isinstance(tracer, MemoryTracer)
        (trace,) = tracer.traces
        (tally,) = trace.ends
        doors = ("classified", "rejected", "duplicate")
        counts = None if tally is None else {door: getattr(tally, door) for door in doors}
        return Told(set(trace.chunk.traced.values()), list(trace.steps), counts)
