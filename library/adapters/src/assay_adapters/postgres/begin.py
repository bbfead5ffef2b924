"""Where the books of a source begin, entered before anything of it is read."""

from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert

from assay.domain.position import Positions
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.runs import end_run, start_run
from assay_adapters.postgres.tables import positions


@translated()
def begin(engine: Engine, source: str, begins: Positions, *, run_id: str, version: str) -> None:
    """Gives partitions that have no position this one, so that nobody begins them elsewhere.

    Noted as a run of its own, which is done with it: it says who has put a position there without
    a ledger, and where the ledger begins. Repeated, or where others were first with all of them,
    nothing changes.

    Args:
        engine: from `engine_for`.
        source: of the partitions.
        begins: where each is read from.
        run_id: a name for the beginning.
        version: of Assay.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    if not begins:
        return
    rows = [
        {
            "source": source,
            "partition": name,
            "next": at.next,
            "numbering": at.numbering,
            "run_id": run_id,
        }
        for name, at in begins.items()
    ]
    with engine.connect() as connection, connection.begin() as transaction:
        start_run(connection, run_id, kind="begin", source=source, version=version)
        own = insert(positions).values(rows).on_conflict_do_nothing()
        entered = connection.execute(own.returning(positions.c.partition)).scalars().all()
        if not entered:
            transaction.rollback()
            return
        facts = {
            name: {"next": begins[name].next, "numbering": begins[name].numbering}
            for name in entered
        }
        end_run(connection, run_id, status="done", summary={"begins": facts})
