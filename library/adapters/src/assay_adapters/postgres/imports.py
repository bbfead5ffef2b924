"""Dead letters that were published elsewhere, taken in."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import polars as pl
from sqlalchemy import (
    ARRAY,
    CTE,
    BigInteger,
    ColumnElement,
    Connection,
    Engine,
    SmallInteger,
    any_,
    bindparam,
    exists,
    func,
    insert,
    literal,
    select,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.types import TypeEngine

from assay.domain.position import TOPICS
from assay.domain.reject import IMPORT, RENEWED
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
_PLACE: Final = ("source", "partition", "position")
_ORIGIN: Final = ("source", "partition", "topic_id", "position")


class Imported(NamedTuple):
    """What an import has changed: letters that are new, and those that say what they did not."""

    new: int
    renewed: int


@translated()
def import_letters(
    engine: Engine, letters: pl.DataFrame, *, run_id: str, by: str, place: str
) -> Imported:
    """Takes in letters whose origin is not known here, all at once or none, as a range of a run.

    Their origin stays as it is, and they count as published where they come from. Known is the
    origin of any letter that was imported, and each position of a range that was committed here:
    what came of that record is in these books already. Topics of one name are told apart by their
    ids, where both are known; books that were put aside count, too.

    Of several attempts of one letter the last counts: an imported letter that is open, and was not
    taken by a redrive here, takes over what a later attempt says; and its topic's id, where it was
    imported without.

    Args:
        engine: from `engine_for`.
        letters: shaped as `LETTERS`.
        run_id: the run; of one run only one call at a time.
        by: who has asked for it.
        place: where they come from.

    Returns:
        How many were new, and how many took over what a later attempt says.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    with engine.begin() as connection:
        alone(connection)
        # PostgreSQL's text holds no NUL.
        text = pl.selectors.string().str.replace_all("\0", "\ufffd", literal=True)
        found = _once(letters.with_columns(text))
        known = _known(connection, found)
        fresh = found.join(known, on=_ORIGIN, how="anti", nulls_equal=True, maintain_order="left")
        old = found.join(known, on=_ORIGIN, nulls_equal=True)
        _name(connection, old)
        renewed = _raise(connection, old, run_id=run_id, by=by)
        if fresh.is_empty():
            return Imported(0, renewed)
        before = connection.scalar(select(func.max(_c.id)).where(_c.import_run == run_id)) or 0
        now = connection.scalar(select(func.now()))
        copy_into(
            connection,
            dead_letters,
            fresh.with_columns(
                import_run=pl.lit(run_id),
                published_at=pl.lit(now),
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
        return Imported(fresh.height, renewed)


def _once(letters: pl.DataFrame) -> pl.DataFrame:
    """Each letter as its last attempt says, in the order in which they come first.

    One without its topic's id is that of the only topic that is named for its place; where several
    are, it may be of any, and is left out.
    """
    ids = pl.col("topic_id").drop_nulls().n_unique().over(_PLACE)
    only = pl.col("topic_id").drop_nulls().first().over(_PLACE)
    named = letters.filter(pl.col("topic_id").is_not_null() | (ids <= 1)).with_columns(
        topic_id=pl.when(ids == 1).then(only).otherwise("topic_id")
    )
    last = named.with_columns(came=pl.int_range(pl.len()).min().over(_ORIGIN)).sort(
        "attempt", descending=True, maintain_order=True
    )
    return last.unique(_ORIGIN, keep="first", maintain_order=True).sort("came").drop("came")


def _name(connection: Connection, known: pl.DataFrame) -> None:
    """Gives imported letters that nobody has touched the topic's id that a later one of them says.

    As in a frame: unless several are named for a place.
    """
    named = known.filter(pl.col("topic_id").is_not_null()).unique(_PLACE, keep="none")
    if named.is_empty():
        return
    asked = _asked(named, dict.fromkeys(_ORIGIN, KEY) | {"position": BigInteger()})
    connection.execute(
        update(dead_letters)
        .where(
            *(_c[name] == asked.c[name] for name in _PLACE),
            _c.topic_id.is_(None),
            _c.import_run.is_not(None),
            _c.books.is_(None),
            _c.state == "open",
            _c.redrive.is_(None),
        )
        .values(topic_id=asked.c.topic_id)
    )


def _raise(connection: Connection, known: pl.DataFrame, *, run_id: str, by: str) -> int:
    """Lets imported letters that nobody has touched take over what later attempts say.

    Returns how many did.
    """
    again = known.filter(pl.col("attempt") > 1)
    if again.is_empty():
        return 0
    types = dict.fromkeys(_ORIGIN, KEY) | {"position": BigInteger(), "attempt": SmallInteger()}
    asked = _asked(again.with_row_index("row"), types | {"row": BigInteger()})
    later = (
        select(_c.id, asked.c.row)
        .where(
            *(_c[name] == asked.c[name] for name in _PLACE),
            _may_be(_c.topic_id, asked.c.topic_id),
            _c.import_run.is_not(None),
            _c.state == "open",
            _c.redrive.is_(None),
            _c.attempt < asked.c.attempt,
        )
        .order_by(asked.c.attempt.desc())
    )
    found = pl.DataFrame(
        connection.execute(later).all(), schema={"id": pl.Int64, "row": pl.UInt32}, orient="row"
    )
    # One that may be of several topics says nothing of any.
    raised = found.unique("row", keep="none").unique("id", keep="first", maintain_order=True)
    if raised.is_empty():
        return 0
    ids = literal(raised["id"].to_list(), ARRAY(BigInteger))
    noted = select(_c.id, literal("imported"), literal(run_id), literal(by), _c.code)
    connection.execute(
        insert(dead_letter_actions).from_select(
            ["letter", "action", "run_id", "by", "code"], noted.where(_c.id == any_(ids))
        )
    )
    columns = (*RENEWED, "attempt")
    values = raised.join(again.with_row_index("row"), on="row").select(
        pl.col("id").alias("letter"), *(pl.col(name).alias(f"new_{name}") for name in columns)
    )
    connection.execute(
        update(dead_letters)
        .where(_c.id == bindparam("letter"))
        .values({name: bindparam(f"new_{name}") for name in columns}),
        values.to_dicts(),
    )
    return raised.height


def _asked(letters: pl.DataFrame, types: Mapping[str, TypeEngine[Any]]) -> CTE:
    """These columns of letters, for PostgreSQL to join with."""
    return select(
        *(
            func.unnest(literal(letters[name].to_list(), ARRAY(kind))).label(name)
            for name, kind in types.items()
        )
    ).cte("asked")


def _known(connection: Connection, letters: pl.DataFrame) -> pl.DataFrame:
    """The origins among these that are known, each once."""
    asked = _asked(letters, dict.fromkeys(_ORIGIN, KEY) | {"position": BigInteger()})
    is_there = exists().where(
        _c.source == asked.c.source,
        _c.partition == asked.c.partition,
        _c.position == asked.c.position,
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
        .where(is_there | (last.c.next > asked.c.position))
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
