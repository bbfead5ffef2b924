"""Where the books of a source begin that is not read from its beginning."""

from sqlalchemy import Engine
from sqlalchemy.dialects.postgresql import insert

from assay.domain.position import Positions
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.runs import end_run, start_run
from assay_adapters.postgres.tables import positions


@translated()
def begin(engine: Engine, source: str, begins: Positions, *, run_id: str, version: str) -> None:
    """Gives partitions that have no position this one, so that nobody begins them elsewhere.

    Noted as a run of its own, which is done with it: that a position stands without a ledger says
    who has put it there. Repeated, or where others were first with all of them, nothing changes.

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
        entered = insert(positions).values(rows).on_conflict_do_nothing()
        if not connection.execute(entered.returning(positions.c.partition)).all():
            transaction.rollback()
            return
        end_run(
            connection,
            run_id,
            status="done",
            summary={"begins": {name: at.next for name, at in begins.items()}},
        )
