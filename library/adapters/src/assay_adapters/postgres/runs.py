"""The runs, for people who look at the tables."""

import platform
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, Float, extract, func, select, update
from sqlalchemy.dialects.postgresql import insert

from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.tables import runs


@translated()
def start_run(
    books: Engine | Connection,
    run_id: str,
    *,
    kind: str,
    source: str,
    version: str,
    status_url: str | None = None,
) -> None:
    """Notes that a run has begun on this machine; repeated, it changes nothing.

    Args:
        books: from `engine_for`; or a connection, whose transaction it becomes part of.
        run_id: its name.
        kind: batch, stream, redrive, ….
        source: what it reads.
        version: of Assay.
        status_url: where it answers who asks for its health and metrics, if it does.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    row = {
        "run_id": run_id,
        "kind": kind,
        "source": source,
        "version": version,
        "status_url": status_url,
    }
    with _writing(books) as connection:
        connection.execute(
            insert(runs).values(**row, host=platform.node()).on_conflict_do_nothing()
        )


@translated()
def end_run(
    books: Engine | Connection, run_id: str, *, status: str, summary: Mapping[str, Any]
) -> None:
    """Notes how a run has ended.

    Args:
        books: from `engine_for`; or a connection, whose transaction it becomes part of.
        run_id: its name.
        status: in one word.
        summary: what can be said of it in JSON.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    with _writing(books) as connection:
        connection.execute(
            update(runs)
            .where(runs.c.run_id == run_id)
            .values(status=status, summary=dict(summary), ended_at=func.now())
        )


@translated()
def serving(engine: Engine, limit: int) -> list[dict[str, Any]]:
    """The latest runs that tell their health and have not ended, as far as is known.

    One that was killed stays among them.

    Args:
        engine: from `engine_for`.
        limit: how many, at most.

    Returns:
        Their `run_id`, `kind`, `source`, `host`, `status_url` and `age` in seconds.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    names = ("run_id", "kind", "source", "host", "status_url")
    age = extract("epoch", func.now() - runs.c.started_at).cast(Float).label("age")
    query = (
        select(*(runs.c[name] for name in names), age)
        .where(runs.c.ended_at.is_(None), runs.c.status_url.is_not(None))
        .order_by(runs.c.started_at.desc())
        .limit(limit)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


@translated()
def ends(engine: Engine) -> dict[tuple[str, str], float]:
    """When the latest run of each kind and status has ended, in seconds since 1970.

    Args:
        engine: from `engine_for`.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    names = (runs.c.kind, runs.c.status)
    ended = extract("epoch", func.max(runs.c.ended_at))
    query = select(*names, ended).where(runs.c.ended_at.is_not(None)).group_by(*names)
    with engine.connect() as connection:
        return {(kind, status): float(at) for kind, status, at in connection.execute(query)}


def _writing(books: Engine | Connection) -> AbstractContextManager[Connection]:
    return books.begin() if isinstance(books, Engine) else nullcontext(books)
