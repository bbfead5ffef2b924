"""Which version the tables are of.

Without Alembic, whose import takes a tenth of a second of each start.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, String, column, func, select, table

from assay.domain.errors import Fatal
from assay_adapters.postgres.connection import translated

MIGRATIONS: Final = Path(__file__).with_name("migrations")
VERSION_TABLE: Final = "assay_version"
REVISIONS: Final = sorted(each.name[:4] for each in (MIGRATIONS / "versions").glob("[0-9]*.py"))
"""All that this Assay knows, in order: their files are named by them."""


@translated()
def check(engine: Engine) -> None:
    """Returns if the tables are of this version.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: they are missing, older or newer, or the database holds no Unicode; it says what to
            do.
    """
    with engine.connect() as connection:
        require_unicode(connection)
        if not is_current(connection):
            raise Fatal("the tables are missing or older than this Assay: run `assay migrate`")


def require_unicode(connection: Connection) -> None:
    """Returns if the database holds every description.

    Raises:
        Fatal: it does not.
    """
    encoding = connection.scalar(select(func.current_setting("server_encoding")))
    if encoding != "UTF8":
        raise Fatal(
            f"the database's encoding is {encoding}, which does not hold every description: "
            "name one in ASSAY_POSTGRES__URL that was made by "
            "CREATE DATABASE ... ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
        )


def is_current(connection: Connection) -> bool:
    """Whether the tables are of this version; else they are missing or older.

    Raises:
        Fatal: the tables are of a newer version of Assay.
    """
    applied = None
    if connection.scalar(select(func.to_regclass(VERSION_TABLE))) is not None:
        applied = connection.scalar(
            select(column("version_num", String)).select_from(table(VERSION_TABLE))
        )
    if applied not in {None, *REVISIONS}:
        raise Fatal(
            "the tables were made by a newer Assay: install that version; "
            "`assay migrate` does not go back"
        )
    return applied == REVISIONS[-1]
