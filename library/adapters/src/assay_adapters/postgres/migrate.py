"""The tables' migrations: brings them to this version."""

from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import func, select, text

from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for, translated, unlimited
from assay_adapters.postgres.version import MIGRATIONS, is_current, require_unicode

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
            require_unicode(connection)
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            if not is_current(connection):
                scripts.attributes.update(connection=connection, note=note)
                command.upgrade(scripts, "head")
    finally:
        engine.dispose()
    return applied


def _scripts() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config
