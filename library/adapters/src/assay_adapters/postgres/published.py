"""Books that classifiers keep on topics, copied into the tables."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

import polars as pl
from sqlalchemy import Engine, func, select
from sqlalchemy.dialects.postgresql import insert

from assay.domain.errors import Fatal
from assay.domain.position import Partition, Position
from assay.wire.ledger import Entry
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.tables import copies, dead_letters, ledger, ledger_entry

_COLUMNS: Final = (
    "source",
    "partition",
    "first",
    "next",
    "read",
    "classified",
    "rejected",
    "duplicate",
    "needs_review",
    "run_id",
    "accepts_rejects",
    "end_state",
    "predictions",
)


Place: TypeAlias = tuple[str, Partition]
"""A topic, and a partition of it."""


@translated()
def copied(engine: Engine) -> dict[Place, Position]:
    """How far topics were copied.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    columns = copies.c.topic, copies.c.partition, copies.c.next, copies.c.numbering
    with engine.connect() as connection:
        rows = connection.execute(select(*columns)).all()
    return {
        (topic, partition): Position(next_, numbering=numbering)
        for topic, partition, next_, numbering in rows
    }


@translated()
def keep(
    engine: Engine,
    letters: pl.DataFrame,
    entries: Sequence[tuple[Entry, datetime]],
    moved: Mapping[Place, Position],
    *,
    place: str,
) -> None:
    """Copies books, and how far that has come, all at once; what is there stays as it is.

    Those of a partition have the name `<partition>#<book>`: a topic that is made anew begins at 0
    again, and so may another group.

    Args:
        engine: from `engine_for`.
        letters: shaped as `LETTERS`, and in `books` their book; they count as published.
        entries: in order of their partitions, each with the time when it was put on the topic.
        moved: where copying goes on.
        place: where the letters come from.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    # PostgreSQL's text holds no NUL.
    text = pl.selectors.string().str.replace_all("\0", "\ufffd", literal=True)
    put_aside = insert(dead_letters).values(published_at=func.now(), place=place)
    entered = insert(ledger).values(entry=ledger_entry.next_value(), copied_at=func.now())
    rows = [
        {name: getattr(entry, name) for name in _COLUMNS}
        | {"partition": f"{entry.partition}#{entry.book}", "committed_at": at}
        for entry, at in entries
    ]
    with engine.begin() as connection:
        if not letters.is_empty():
            given = letters.with_columns(text).to_dicts()
            connection.execute(put_aside.on_conflict_do_nothing(), given)
        if rows:
            connection.execute(entered.on_conflict_do_nothing(), rows)
        new = insert(copies)
        stands = {"next": new.excluded.next, "numbering": new.excluded.numbering}
        connection.execute(
            new.on_conflict_do_update(constraint=copies.primary_key, set_=stands),
            [
                {"topic": topic, "partition": each, "next": at.next, "numbering": at.numbering}
                for (topic, each), at in moved.items()
            ],
        )


@translated()
def require_own_books(engine: Engine, source: str, *, are_published: bool) -> None:
    """That books of a source, if there are any, are of this kind: a topic has one of the two.

    Args:
        engine: from `engine_for`.
        source: of the entries.
        are_published: whether they are copies of what a classifier keeps on topics.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: they are of the other kind.
    """
    is_other = (
        ledger.c.predictions.is_(None) if are_published else ledger.c.predictions.is_not(None)
    )
    with engine.connect() as connection:
        if connection.scalar(select(1).where(ledger.c.source == source, is_other).limit(1)):
            how = "assay stream consume" if are_published else "assay stream classify"
            raise Fatal(
                f"these tables hold the books of {source} as `{how}` keeps them, and cannot hold"
                " both: use another database for one of them"
            )
