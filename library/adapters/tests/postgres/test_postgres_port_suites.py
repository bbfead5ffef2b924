"""The guarantees of the ports, on PostgreSQL."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, text

from assay.ports.letters import Letters
from assay.ports.store import Store
from assay.testing.letters import LettersSuite, MakeLetters
from assay.testing.selection import MakeSelection, SelectionSuite
from assay.testing.store import IdStoreSuite
from assay_adapters.postgres.letters import PostgresLetters
from assay_adapters.postgres.selection import PostgresSelection
from assay_adapters.postgres.store import PostgresStore


class TestPostgresStore(IdStoreSuite):
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


class TestPostgresSelection(SelectionSuite):
    @pytest.fixture
    def store(self, engine: Engine) -> Store:
        """On one database."""
        self._engine = engine
        return PostgresStore(engine, processing_type="redrive")

    @pytest.fixture
    def letters(self, engine: Engine) -> Letters:
        """On the same."""
        return PostgresLetters(engine, "one", lease=timedelta(hours=1))

    @pytest.fixture
    def make_selection(self, engine: Engine) -> MakeSelection:
        """On the same."""
        return partial(PostgresSelection, engine, by="somebody")

    def facts(self, store: Store) -> list[tuple[object, ...]]:
        del store
        return self._rows("SELECT id, state, code, attempt, run_id FROM dead_letters ORDER BY id")

    def actions(self, store: Store) -> list[tuple[object, ...]]:
        del store
        return self._rows(
            "SELECT letter, action, code, run_id, edits FROM dead_letter_actions ORDER BY id"
        )

    def expire(self, store: Store, run_id: str) -> None:
        del store
        with self._engine.begin() as connection:
            connection.execute(
                text("UPDATE redrives SET leased_until = now() WHERE run_id = :run"),
                {"run": run_id},
            )

    def _rows(self, query: str) -> list[tuple[object, ...]]:
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]
