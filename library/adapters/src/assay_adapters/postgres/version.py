"""Which version the tables are of, and whether this Assay can work with it.

Tables of a newer version may serve an older Assay: a migration says so that only adds what an
older one does without. So services go on, and may be started again, while others are updated.

Without Alembic, whose import takes a tenth of a second of each start.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, String, column, func, select, table

from assay.domain.errors import Fatal
from assay_adapters.postgres.connection import translated

MIGRATIONS: Final = Path(__file__).with_name("migrations")
VERSION_TABLE: Final = "assay_version"
NOTE: Final = "serves any Assay since "
"""What the comment on that table begins with; a revision follows."""
REVISIONS: Final = sorted(each.name[:4] for each in (MIGRATIONS / "versions").glob("[0-9]*.py"))
"""All that this Assay knows, in order: their files are named by them."""


@translated()
def check(engine: Engine) -> None:
    """Returns if the tables serve this Assay.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: they are missing or older, or so new that they do not serve this Assay, or the
            database holds no Unicode; it says what to do.
    """
    with engine.connect() as connection:
        require_unicode(connection)
        if not is_served(connection):
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


def is_served(connection: Connection) -> bool:
    """Whether the tables serve this Assay; else they are missing or older.

    Raises:
        Fatal: they are of a newer Assay, and do not.
    """
    if connection.scalar(select(func.to_regclass(VERSION_TABLE))) is None:
        return False
    applied = connection.scalar(
        select(column("version_num", String)).select_from(table(VERSION_TABLE))
    )
    if applied not in {None, *REVISIONS}:
        oldest = served(connection)
        if oldest is None or oldest > REVISIONS[-1]:
            raise Fatal(
                "the tables were made by a newer Assay, and do not serve this one: install that "
                "version; `assay migrate` does not go back"
            )
        return True
    return applied == REVISIONS[-1]


def served(connection: Connection) -> str | None:
    """The newest revision of the oldest Assay that the tables serve; `migrate` has noted it."""
    oid = func.to_regclass(VERSION_TABLE)
    noted = connection.scalar(select(func.obj_description(oid, "pg_class")))
    return noted and noted.removeprefix(NOTE)
