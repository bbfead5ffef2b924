"""Dead letters that were published elsewhere, taken in."""

from typing import Final

import polars as pl
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Engine,
    exists,
    func,
    insert,
    literal,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from assay.domain.reject import IMPORT
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.copy import copy_into
from assay_adapters.postgres.selection import alone
from assay_adapters.postgres.tables import (
    KEY,
    dead_letter_actions,
    dead_letters,
    ledger,
    ledger_entry,
    positions,
)

_c: Final = dead_letters.c
_ORIGIN: Final = ("source", "partition", "position")


@translated()
def import_letters(
    engine: Engine, letters: pl.DataFrame, *, run_id: str, by: str, place: str
) -> int:
    """Takes in letters whose origin is not known here, all at once or none, as a range of a run.

    Their origin stays as it is, and they count as published where they come from. Known is the
    origin of any letter, and each position of a range that was committed here: what came of that
    record is in these books already.

    Args:
        engine: from `engine_for`.
        letters: shaped as `LETTERS`.
        run_id: the run; of one run only one call at a time.
        by: who has asked for it.
        place: where they come from.

    Returns:
        How many were new.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    with engine.begin() as connection:
        alone(connection)
        fresh = letters.unique(_ORIGIN, keep="first", maintain_order=True)
        fresh = fresh.join(_known(connection, fresh), on=_ORIGIN, how="anti", maintain_order="left")
        if fresh.is_empty():
            return 0
        before = connection.scalar(select(func.max(_c.id)).where(_c.import_run == run_id)) or 0
        now = connection.scalar(select(func.now()))
        # PostgreSQL's text holds no NUL.
        text = pl.selectors.string().str.replace_all("\0", "\ufffd", literal=True)
        copy_into(
            connection,
            dead_letters,
            fresh.with_columns(
                text,
                import_run=pl.lit(run_id),
                published_at=pl.lit(str(now)),
                place=pl.lit(place),
            ),
        )
        imported = select(_c.id, literal("imported"), _c.import_run, literal(by), _c.code).where(
            _c.import_run == run_id, _c.id > before
        )
        connection.execute(
            insert(dead_letter_actions).from_select(
                ["letter", "action", "run_id", "by", "code"], imported
            )
        )
        _enter(connection, run_id, fresh.height)
        return fresh.height


def _known(connection: Connection, letters: pl.DataFrame) -> pl.DataFrame:
    """The origins among these that are known, each once."""
    asked = select(
        func.unnest(literal(letters["source"].to_list(), ARRAY(KEY))).label("source"),
        func.unnest(literal(letters["partition"].to_list(), ARRAY(KEY))).label("partition"),
        func.unnest(literal(letters["position"].to_list(), ARRAY(BigInteger))).label("position"),
    ).subquery("asked")
    origin = asked.c.source, asked.c.partition, asked.c.position
    has_letter = exists().where(
        _c.source == asked.c.source,
        _c.partition == asked.c.partition,
        _c.position == asked.c.position,
    )
    # Of the ranges of a partition only the last that begins before can hold it.
    last = (
        select(ledger.c.next)
        .where(
            ledger.c.source == asked.c.source,
            ledger.c.partition == asked.c.partition,
            ledger.c.first <= asked.c.position,
        )
        .order_by(ledger.c.first.desc())
        .limit(1)
        .lateral("last")
    )
    rows = connection.execute(
        select(*origin)
        .select_from(asked.outerjoin(last, true()))
        .where(has_letter | (last.c.next > asked.c.position))
    )
    schema = {name: letters.schema[name] for name in _ORIGIN}
    return pl.DataFrame(rows.all(), schema=schema, orient="row")


def _enter(connection: Connection, run_id: str, number: int) -> None:
    """Writes the ledger entry, and moves the position."""
    standing = select(positions.c.next).where(
        positions.c.source == IMPORT, positions.c.partition == run_id
    )
    first: int = connection.scalar(standing.with_for_update()) or 0
    connection.execute(
        insert(ledger).values(
            entry=ledger_entry.next_value(),
            source=IMPORT,
            partition=run_id,
            first=first,
            next=first + number,
            read=number,
            classified=0,
            rejected=number,
            duplicate=0,
            needs_review=0,
            run_id=run_id,
            accepts_rejects=True,
        )
    )
    moved = upsert(positions).values(
        source=IMPORT, partition=run_id, next=first + number, run_id=run_id
    )
    connection.execute(
        moved.on_conflict_do_update(
            constraint=positions.primary_key,
            set_={"next": moved.excluded.next, "updated_at": func.now()},
        )
    )
