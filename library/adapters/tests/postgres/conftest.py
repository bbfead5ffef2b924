"""Databases of PostgreSQL for each test."""

import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from sqlalchemy import Engine

from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.migrate import migrate
from assay_local import Local, databases


def _config(url: str) -> PostgresConfig:
    return PostgresConfig.model_validate({"url": url})


@pytest.fixture
def config(postgres_url: str) -> PostgresConfig:
    """An empty database."""
    return _config(postgres_url)


@pytest.fixture(scope="session")
def shared(local: Local) -> Iterator[PostgresConfig]:
    """A database with all tables, for all tests that leave the tables as they are."""
    name = f"test_{secrets.token_hex(8)}"
    server = local.postgres
    config = _config(databases.create(server.url, name))
    migrate(config)
    yield config
    server.start()
    databases.drop(server.url, name)


@pytest.fixture
def migrated(local: Local, shared: PostgresConfig) -> PostgresConfig:
    """A database with all tables, which are empty."""
    local.postgres.start()  # A test before may have killed it.
    with psycopg.connect(shared.url.get_secret_value()) as connection:
        connection.execute(
            "TRUNCATE transactions, predictions, runs, ledger, positions, dead_letters, redrives,"
            " dead_letter_actions, corrections RESTART IDENTITY"
        )
        connection.execute("ALTER SEQUENCE ledger_entry RESTART")
    return shared


@pytest.fixture
def make_engine(migrated: PostgresConfig) -> Iterator[Callable[[], Engine]]:
    """Makes connection pools on one database with all tables."""
    made: list[Engine] = []

    def make() -> Engine:
        made.append(engine_for(migrated))
        return made[-1]

    yield make
    for each in made:
        each.dispose()


@pytest.fixture
def engine(make_engine: Callable[[], Engine]) -> Engine:
    """A connection pool on a database with all tables."""
    return make_engine()
