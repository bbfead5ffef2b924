"""The tables' version."""

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, text

from assay.domain.errors import Fatal
from assay.testing.frames import outcome
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.migrate import migrate
from assay_adapters.postgres.store import PostgresStore
from assay_adapters.postgres.tables import metadata
from assay_adapters.postgres.version import MIGRATIONS, NOTE, REVISIONS, VERSION_TABLE, check


@pytest.fixture
def empty(config: PostgresConfig) -> Iterator[Engine]:
    """A connection pool on an empty database."""
    engine = engine_for(config)
    yield engine
    engine.dispose()


@pytest.fixture
def migrated(config: PostgresConfig) -> PostgresConfig:
    """A database with all tables, for this test alone."""
    migrate(config)
    return config


def test_an_empty_database_is_brought_up_to_date_once(
    config: PostgresConfig, empty: Engine
) -> None:
    """The revisions applied are named; the second time there are none."""
    assert migrate(config) == ["0001"]
    check(empty)
    assert migrate(config) == []


def test_revisions_are_those_of_alembic() -> None:
    """Their files are named by them, and one follows the other."""
    folder = ScriptDirectory(str(MIGRATIONS))
    assert [each.revision for each in folder.walk_revisions()] == REVISIONS[::-1]


def test_of_several_at_once_one_migrates(config: PostgresConfig) -> None:
    """The others wait for it and find nothing to do."""
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(migrate, [config] * 4))
    assert sorted(applied) == [[], [], [], ["0001"]]


def test_the_tables_are_those_that_the_code_sees(engine: Engine) -> None:
    """Alembic finds no difference between the migrated tables and the models."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": VERSION_TABLE,
                "compare_type": True,
                "compare_server_default": True,
            },
        )
        assert compare_metadata(context, metadata) == []


_SHAPE = {
    "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)"
    " FROM pg_constraint WHERE connamespace = current_schema()::regnamespace",
    "indexes": "SELECT indexname, replace(indexdef, current_schema() || '.', '') FROM pg_indexes"
    " WHERE schemaname = current_schema()",
    "columns": "SELECT table_name, ordinal_position, column_name, data_type, collation_name,"
    " numeric_precision, numeric_scale, is_nullable, column_default, identity_generation,"
    " col_description(format('%I', table_name)::regclass, ordinal_position)"
    " FROM information_schema.columns JOIN information_schema.tables USING (table_name)"
    " WHERE columns.table_schema = current_schema() AND tables.table_schema = current_schema()"
    " AND table_type = 'BASE TABLE'",
}


def _shape(connection: Connection, what: str) -> list[tuple[object, ...]]:
    rows = (tuple(row) for row in connection.execute(text(_SHAPE[what])))
    return sorted((row for row in rows if VERSION_TABLE not in str(row[0])), key=repr)


@pytest.mark.parametrize("what", _SHAPE)
def test_migrations_and_models_make_the_same(engine: Engine, what: str) -> None:
    """Also where Alembic does not look: checks, collations, comments."""
    with engine.connect() as connection:
        migrated = _shape(connection, what)
        connection.execute(text("CREATE SCHEMA fresh"))
        connection.execute(text("SET search_path TO fresh"))
        metadata.create_all(connection, checkfirst=False)
        assert _shape(connection, what) == migrated != []


_NEWER = "UPDATE assay_version SET version_num = '9999'"


@pytest.mark.parametrize(
    ("change", "advice"),
    [
        ("DELETE FROM assay_version", "run `assay migrate`"),
        ("DROP TABLE assay_version", "run `assay migrate`"),
        (f"{_NEWER}; COMMENT ON TABLE assay_version IS NULL", "newer Assay"),
        (f"{_NEWER}; COMMENT ON TABLE assay_version IS '{NOTE}9999'", "newer Assay"),
    ],
)
def test_tables_of_another_version_are_refused(engine: Engine, change: str, advice: str) -> None:
    """Older and newer ones; the message says what to do."""
    check(engine)
    with engine.begin() as connection:
        connection.execute(text(change))
    with pytest.raises(Fatal, match=advice):
        check(engine)


def test_tables_of_a_newer_version_are_not_migrated(
    migrated: PostgresConfig, engine: Engine
) -> None:
    """There is no way back."""
    with engine.begin() as connection:
        connection.execute(text(f"{_NEWER}; COMMENT ON TABLE assay_version IS '{NOTE}9999'"))
    with pytest.raises(Fatal, match="newer Assay"):
        migrate(migrated)


@pytest.fixture
def newer(
    migrated: PostgresConfig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[[str, str, str], list[str]]:
    """Migrates as an Assay with one more migration does: its revision, what it does and serves."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder)

    def run(revision: str, does: str, serves: str) -> list[str]:
        last = max(each.name[:4] for each in (folder / "versions").glob("[0-9]*.py"))
        (folder / "versions" / f"{revision}_more.py").write_text(
            f"from alembic import op\n\nrevision = {revision!r}\ndown_revision = {last!r}\n"
            f"serves = {serves!r}\n\ndef upgrade():\n    op.execute({does!r})\n"
        )
        known = sorted(each.name[:4] for each in (folder / "versions").glob("[0-9]*.py"))
        with monkeypatch.context() as as_newer:
            as_newer.setattr("assay_adapters.postgres.migrate.MIGRATIONS", folder)
            as_newer.setattr("assay_adapters.postgres.version.REVISIONS", known)
            return migrate(migrated)

    return run


def test_an_older_assay_goes_on_with_tables_that_serve_it(
    migrated: PostgresConfig, engine: Engine, newer: Callable[[str, str, str], list[str]]
) -> None:
    """It starts, commits and migrates nothing, until a migration takes away what it needs."""
    add = "ALTER TABLE transactions ADD COLUMN branch text"
    assert newer("0002", add, "0001") == ["0002"]
    check(engine)
    assert migrate(migrated) == []
    PostgresStore(engine, processing_type="batch").commit(outcome(["a"]))
    assert newer("0003", "SELECT 1", "0001") == ["0003"]
    check(engine)

    drop = "ALTER TABLE transactions DROP COLUMN merchant CASCADE"
    assert newer("0004", drop, "0002") == ["0004"]
    for call in (lambda: check(engine), lambda: migrate(migrated)):
        with pytest.raises(Fatal, match="newer Assay"):
            call()
    assert newer("0005", "SELECT 1", "0001") == ["0005"]
    with pytest.raises(Fatal, match="newer Assay"):
        check(engine)


def test_a_store_that_is_in_use_goes_on_through_a_migration(
    engine: Engine, newer: Callable[[str, str, str], list[str]]
) -> None:
    """Also with statements that PostgreSQL has prepared by then."""
    store = PostgresStore(engine, processing_type="batch")

    def commit(first: int) -> None:
        for at in range(first, first + 10):
            found = outcome([f"id-{at}"], rejected=[f"r-{at}"], first=2 * at, partition="p")
            assert store.commit(found).duplicate == 0
            assert store.positions("files", ["p"]) != {}

    commit(0)
    names = sorted(metadata.tables)
    newer("0002", ";".join(f"ALTER TABLE {name} ADD COLUMN more text" for name in names), "0001")
    commit(10)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM transactions")) == 20


def test_without_tables_every_call_says_what_to_do(empty: Engine) -> None:
    """Exit code 78, naming the command."""
    store = PostgresStore(empty, processing_type="batch")
    for call in (
        lambda: check(empty),
        lambda: store.commit(outcome(["a"])),
        lambda: store.positions("files", ["a"]),
        lambda: store.recent("files", None, 10),
    ):
        with pytest.raises(Fatal, match="assay migrate") as fatal:
            call()
        assert fatal.value.exit_code == 78


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_holds_no_unicode_is_refused(
    postgres_url: str, encoding: str, migrated: PostgresConfig
) -> None:
    """Before a table is made or used; the message says how to make a database that does."""
    name = f"{urlsplit(postgres_url).path[1:]}_{encoding}".lower()
    how = f"ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    unicode = "ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} {how}".encode())
        try:
            url = urlunsplit(urlsplit(postgres_url)._replace(path=f"/{name}"))
            config = migrated.model_copy(update={"url": SecretStr(url)})
            engine = engine_for(config)
            for call in (lambda: migrate(config), lambda: check(engine)):
                with pytest.raises(Fatal, match=f"{encoding}.*{unicode}"):
                    call()
            engine.dispose()
            connection.execute(f"CREATE DATABASE {name}_mended {unicode}".encode())
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
            connection.execute(f"DROP DATABASE IF EXISTS {name}_mended".encode())


def test_the_tables_are_made_in_the_schema_that_the_url_names(
    config: PostgresConfig, empty: Engine
) -> None:
    """Beside tables of the same names in another schema, which are left alone."""
    migrate(config)
    with empty.begin() as connection:
        connection.execute(text("CREATE SCHEMA books"))
    url = f"{config.url.get_secret_value()}?options=-csearch_path%3Dbooks"
    there = config.model_copy(update={"url": SecretStr(url)})
    engine = engine_for(there)
    with pytest.raises(Fatal, match="assay migrate"):
        check(engine)
    assert migrate(there) == ["0001"]
    check(engine)
    PostgresStore(engine, processing_type="batch").commit(outcome(["a"]))
    with empty.connect() as connection:
        counts = "SELECT (SELECT count(*) FROM books.ledger), (SELECT count(*) FROM public.ledger)"
        assert tuple(connection.execute(text(counts)).one()) == (1, 0)
    engine.dispose()
