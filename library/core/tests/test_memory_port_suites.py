"""The guarantees of the ports, on the adapters in memory."""

from collections.abc import Callable
from datetime import timedelta
from itertools import repeat

import pytest

from assay.memory.letters import MemoryLetters
from assay.memory.objects import MemoryObjects
from assay.memory.store import MemoryStore
from assay.ports.objects import Objects
from assay.ports.store import Store
from assay.testing.letters import LettersSuite, MakeLetters
from assay.testing.objects import ObjectsSuite
from assay.testing.store import StoreSuite


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def make_store(self) -> Callable[[], Store]:
        return repeat(MemoryStore()).__next__


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
