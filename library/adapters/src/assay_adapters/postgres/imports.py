"""Dead letters that were published elsewhere, taken in."""

from typing import Any, Final

import polars as pl
from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
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

from assay.domain.reject import IMPORT, TOPICS
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
_ORIGIN: Final = ("source", "partition", "topic_id", "position")


@translated()
def import_letters(
    engine: Engine, letters: pl.DataFrame, *, run_id: str, by: str, place: str
) -> int:
    """Takes in letters whose origin is not known here, all at once or none, as a range of a run.

    Their origin stays as it is, and they count as published where they come from. Known is the
    origin of any letter that was imported, and each position of a range that was committed here:
    what came of that record is in these books already. Topics of one name are told apart by their
    ids, where both are known; books that were put aside count, too.

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
        known = _known(connection, fresh)
        fresh = fresh.join(known, on=_ORIGIN, how="anti", nulls_equal=True, maintain_order="left")
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
    types = dict.fromkeys(_ORIGIN, KEY) | {"position": BigInteger()}
    asked = select(
        *(
            func.unnest(literal(letters[name].to_list(), ARRAY(kind))).label(name)
            for name, kind in types.items()
        )
    ).cte("asked")
    is_imported = exists().where(
        _c.source == asked.c.source,
        _c.partition == asked.c.partition,
        _c.position == asked.c.position,
        _c.import_run.is_not(None),
        _may_be(_c.topic_id, asked.c.topic_id),
    )
    books = _books(asked)
    of_it = (
        (books.c.source == asked.c.source)
        & (books.c.partition == asked.c.partition)
        & _may_be(books.c.numbering, asked.c.topic_id)
    )
    # Of the ranges of a partition only the last that begins before can hold it.
    last = (
        select(ledger.c.next)
        .where(
            ledger.c.source == asked.c.source,
            ledger.c.partition == books.c.book,
            ledger.c.first <= asked.c.position,
        )
        .order_by(ledger.c.first.desc())
        .limit(1)
        .lateral("last")
    )
    rows = connection.execute(
        select(*(asked.c[name] for name in _ORIGIN))
        .select_from(asked.outerjoin(books, of_it).outerjoin(last, true()))
        .where(is_imported | (last.c.next > asked.c.position))
        .distinct()
    )
    schema = {name: letters.schema[name] for name in _ORIGIN}
    return pl.DataFrame(rows.all(), schema=schema, orient="row")


def _books(asked: CTE) -> CTE:
    """The names under which books of these partitions stand: their own, and those put aside."""
    names = select(asked.c.source, asked.c.partition).distinct().cte("names")
    book = positions.c.partition
    columns = names.c.source, names.c.partition, book.label("book"), positions.c.numbering
    same = positions.c.source == names.c.source
    own = select(*columns).join_from(names, positions, same & (book == names.c.partition))
    # Versions of files have such names, too, and are partitions of their own.
    of_topic = func.starts_with(names.c.source, TOPICS)
    before = (func.split_part(book, "#", 1) == names.c.partition) & (book != names.c.partition)
    aside = select(*columns).join_from(names, positions, same & before).where(of_topic)
    return own.union_all(aside).cte("books")


def _may_be(one: ColumnElement[Any], other: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether two ids are not known to be different."""
    return one.is_(None) | other.is_(None) | (one == other)


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
