"""The tables' migrations: brings them to this version."""

from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import func, select, text

from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for, translated, unlimited
from assay_adapters.postgres.version import (
    MIGRATIONS,
    NOTE,
    VERSION_TABLE,
    is_served,
    require_unicode,
)

_LOCK: Final = 0x6173736179  # a number that no other program locks


@translated()
def migrate(config: PostgresConfig) -> list[str]:
    """Brings the tables to this version, all at once or not at all.

    Two at the same time wait for each other; the second finds nothing to do, and so does an older
    Assay whose tables have been brought to a newer version that serves it.

    Returns:
        The revisions that were applied, in order.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables are of a newer version of Assay and do not serve this one, the role may
            not change them, or the database holds no Unicode.
    """
    applied: list[str] = []

    def note(step: Any, **_: object) -> None:
        applied.append(step.up_revision_id)

    scripts = _scripts()
    engine = engine_for(config)
    try:
        with engine.begin() as connection, unlimited(connection):
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            require_unicode(connection)
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            if not is_served(connection):
                scripts.attributes.update(connection=connection, note=note)
                command.upgrade(scripts, "head")
                noted = f"COMMENT ON TABLE {VERSION_TABLE} IS '{NOTE}{_oldest(scripts)}'"
                connection.execute(text(noted))
    finally:
        engine.dispose()
    return applied


def _oldest(scripts: Config) -> str:
    """Of the oldest Assay that the tables serve now the newest revision."""
    every = ScriptDirectory.from_config(scripts).walk_revisions()
    return max(each.module.serves for each in every)


def _scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
