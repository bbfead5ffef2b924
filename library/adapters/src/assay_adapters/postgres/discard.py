"""Dead letters that a person gives up."""

from sqlalchemy import ARRAY, BigInteger, Engine, any_, insert, literal, select, update

from assay.domain.choice import Filter
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.lookup import IS_HELD, conditions
from assay_adapters.postgres.selection import alone
from assay_adapters.postgres.tables import dead_letter_actions, dead_letters

_c = dead_letters.c


@translated()
def discard(engine: Engine, chosen: Filter, *, by: str, reason: str) -> int:
    """Discards open letters, all at once or none, and notes it for each.

    Those that a redrive holds just now are left alone.

    Args:
        engine: from `engine_for`.
        chosen: which.
        by: who.
        reason: why, in their own words.

    Returns:
        How many.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    with engine.begin() as connection:
        alone(connection)
        free = select(_c.id, _c.code).where(*conditions(chosen), _c.state == "open", ~IS_HELD)
        found = connection.execute(free.order_by(_c.id).with_for_update()).all()
        if not found:
            return 0
        ids = [each.id for each in found]
        connection.execute(
            update(dead_letters)
            .where(_c.id == any_(literal(ids, ARRAY(BigInteger))))
            .values(state="discarded")
        )
        connection.execute(
            insert(dead_letter_actions).values(action="discarded", by=by, reason=reason),
            [{"letter": each.id, "code": each.code} for each in found],
        )
        return len(found)
