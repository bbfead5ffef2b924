"""The tables' version: brought up to date, and checked."""

from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, select, text

from assay.domain.errors import Fatal
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for, translated, unlimited

VERSION_TABLE: Final = "assay_version"
_LOCK: Final = 0x6173736179  # a number that no other program locks


@translated()
def migrate(config: PostgresConfig) -> list[str]:
    """Brings the tables to this version, all at once or not at all.

    Two at the same time wait for each other; the second finds nothing to do.

    Returns:
        The revisions that were applied, in order.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables are of a newer version of Assay, the role may not change them, or the
            database holds no Unicode.
    """
    applied: list[str] = []

    def note(step: Any, **_: object) -> None:
        applied.append(step.up_revision_id)

    scripts = _scripts()
    engine = engine_for(config)
    try:
        with engine.begin() as connection, unlimited(connection):
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            _require_unicode(connection)
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            _missing(connection, scripts)
            scripts.attributes.update(connection=connection, note=note)
            command.upgrade(scripts, "head")
    finally:
        engine.dispose()
    return applied


@translated()
def check(engine: Engine) -> None:
    """Returns if the tables are of this version.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: they are missing, older or newer, or the database holds no Unicode; it says what to
            do.
    """
    with engine.connect() as connection:
        _require_unicode(connection)
        if _missing(connection, _scripts()):
            raise Fatal("the tables are missing or older than this Assay: run `assay migrate`")


def _require_unicode(connection: Connection) -> None:
    encoding = connection.scalar(select(func.current_setting("server_encoding")))
    if encoding != "UTF8":
        raise Fatal(
            f"the database's encoding is {encoding}, which does not hold every description: "
            "name one in ASSAY_POSTGRES__URL that was made by "
            "CREATE DATABASE ... ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
        )


def _scripts() -> Config:
    config = Config()
    folder = str(Path(__file__).with_name("migrations"))
    config.set_main_option("script_location", folder.replace("%", "%%"))
    return config


def _missing(connection: Connection, scripts: Config) -> set[str]:
    """The revisions that the tables lack."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    folder = ScriptDirectory.from_config(scripts)
    known = {each.revision for each in folder.walk_revisions()}
    applied = set(context.get_current_heads())
    if not applied <= known:
        raise Fatal(
            "the tables were made by a newer Assay: install that version; "
            "`assay migrate` does not go back"
        )
    return set(folder.get_heads()) - applied
