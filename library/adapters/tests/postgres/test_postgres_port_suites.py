"""The guarantees of the ports, on PostgreSQL."""

from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import Engine

from assay.ports.store import Store
from assay.testing.letters import LettersSuite, MakeLetters
from assay.testing.store import StoreSuite
from assay_adapters.postgres.letters import PostgresLetters
from assay_adapters.postgres.store import PostgresStore


class TestPostgresStore(StoreSuite):
    @pytest.fixture
    def make_store(self, make_engine: Callable[[], Engine]) -> Callable[[], Store]:
        """Each store with connections of its own."""
        return lambda: PostgresStore(make_engine(), processing_type="batch")


class TestPostgresLetters(LettersSuite):
    @pytest.fixture
    def store(self, engine: Engine) -> Store:
        """On one database."""
        return PostgresStore(engine, processing_type="batch")

    @pytest.fixture
    def make_letters(self, engine: Engine) -> MakeLetters:
        """On the same."""
        return partial(PostgresLetters, engine)
