"""Partitions whose positions have come to mean other records, put aside under another name."""

from collections.abc import Collection

from sqlalchemy import ARRAY, Engine, any_, func, insert, literal, select, update

from assay.domain.position import Partition, Position, Positions
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.tables import KEY, dead_letters, ledger, positions


@translated()
def unfinished(engine: Engine, source: str) -> Positions:
    """Where all partitions of a source stand that have not ended.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    standing = select(positions.c.partition, positions.c.next, positions.c.numbering).where(
        positions.c.source == source, positions.c.end_state.is_(None)
    )
    with engine.connect() as connection:
        rows = connection.execute(standing.order_by(positions.c.partition)).all()
    return {row.partition: Position(row.next, None, row.numbering) for row in rows}


@translated()
def retire(
    engine: Engine, source: str, gone: Collection[Partition], begins: Positions, run_id: str
) -> None:
    """Gives these partitions' books the name `<partition>#<run_id>`, and ends them as abandoned.

    Position and ledger stay what they are, under the new name. Letters keep their origin, by which
    everybody else knows them, and say that its books have that name. Under the old name reading
    goes on where `begins` says, if it does. What a consumer of the old partition has still under
    way is refused, since the position is of another numbering then.

    Raises:
        Unavailable: PostgreSQL is away; nothing has changed.
        Fatal: the tables cannot be used.
    """
    partitions = sorted(gone)
    named = any_(literal(partitions, ARRAY(KEY)))
    with engine.begin() as connection:
        # Commits wait here, and find no such position afterwards.
        held = select(positions.c.partition).where(
            positions.c.source == source, positions.c.partition == named
        )
        connection.execute(held.order_by(positions.c.partition).with_for_update()).all()
        last = (
            select(func.max(ledger.c.entry))
            .where(ledger.c.source == source, ledger.c.partition == named)
            .group_by(ledger.c.partition)
        )
        ended = update(ledger).where(ledger.c.entry.in_(last)).values(end_state="abandoned")
        connection.execute(ended)
        # Those that were imported are of no books but those of their import.
        connection.execute(
            update(dead_letters)
            .where(
                dead_letters.c.source == source,
                dead_letters.c.partition == named,
                dead_letters.c.import_run.is_(None),
                dead_letters.c.books.is_(None),
            )
            .values(books=run_id)
        )
        for table in (ledger, positions):
            connection.execute(
                update(table)
                .where(table.c.source == source, table.c.partition == named)
                .values(partition=table.c.partition.concat(f"#{run_id}"))
            )
        connection.execute(
            update(positions)
            .where(
                positions.c.source == source,
                positions.c.partition
                == any_(literal([f"{each}#{run_id}" for each in partitions], ARRAY(KEY))),
            )
            .values(end_state="abandoned", updated_at=func.now())
        )
        if begins:
            connection.execute(
                insert(positions).values(source=source, run_id=run_id),
                [
                    {"partition": name, "next": at.next, "numbering": at.numbering}
                    for name, at in begins.items()
                ],
            )
