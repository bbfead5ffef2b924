"""Whether a run may write: asked beforehand, changing nothing."""

from typing import Final

from sqlalchemy import Engine, func, select

from assay.domain.errors import Fatal
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.tables import (
    corrections,
    dead_letters,
    ledger_entry,
    metadata,
    positions,
    redrives,
    runs,
)

_UPDATED: Final = (runs, positions, dead_letters, redrives)
# People correct by a command of their own; no run looks at what they say.
_TABLES: Final = [name for name in metadata.tables if name != corrections.name]


@translated()
def require_rights(engine: Engine) -> None:
    """Returns if the role may do what a run does with the tables, and the server takes writes.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: it may not; says what is missing.
    """
    needed = [
        *((func.has_table_privilege(each, "SELECT"), f"SELECT ON {each}") for each in _TABLES),
        *((func.has_table_privilege(each, "INSERT"), f"INSERT ON {each}") for each in _TABLES),
        *((func.has_table_privilege(t.name, "UPDATE"), f"UPDATE ON {t.name}") for t in _UPDATED),
        (func.has_table_privilege(redrives.name, "DELETE"), f"DELETE ON {redrives.name}"),
        (
            func.has_sequence_privilege(ledger_entry.name, "USAGE"),
            f"USAGE ON SEQUENCE {ledger_entry.name}",
        ),
    ]
    with engine.connect() as connection:
        if connection.scalar(select(func.current_setting("transaction_read_only"))) == "on":
            raise Fatal(
                "PostgreSQL takes no writes here: it is a standby, or "
                "default_transaction_read_only is on; name the primary in ASSAY_POSTGRES__URL, or "
                "turn that off"
            )
        held = connection.execute(select(*(each for each, _ in needed))).one()
    lacking = [right for (_, right), has in zip(needed, held, strict=True) if not has]
    if lacking:
        raise Fatal(f"the role lacks rights that a run needs: GRANT {', '.join(lacking)}")
