"""Dead letters as people look them up: how many, which, and what stands in one."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, TypedDict

from sqlalchemy import ColumnElement, Engine, func, select

from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.tables import dead_letters

_c: Final = dead_letters.c
_FACTS: Final = (
    _c.id,
    _c.state,
    _c.stage,
    _c.code,
    _c.field,
    _c.message,
    _c.transaction_id,
    _c.source,
    _c.partition,
    _c.position,
    _c.run_id,
    _c.retriable,
    _c.attempt,
    _c.model_version,
    _c.created_at,
    _c.published_at,
    _c.place,
    _c.length,
)
_CONTENT: Final = (_c.key, _c.header, _c.raw, _c.sha256)
_FETCH: Final = 100  # letters of up to 1 MiB that are held at once


class Filter(TypedDict, total=False):
    """Which letters are meant: those to which all that is given applies.

    Attributes:
        codes: their code is any of these. Where there are none, codes, stages and states choose
            nothing.
        stages: their stage is.
        states: what became of them is: open, closed or discarded.
        run_id: the run that committed them; None is as if it were not given, here and below.
        source: what they were read from.
        since: committed at this time or later.
        until: committed before this time.
    """

    codes: Sequence[str]
    stages: Sequence[str]
    states: Sequence[str]
    run_id: str | None
    source: str | None
    since: datetime | None
    until: datetime | None


def _conditions(chosen: Filter) -> Iterator[ColumnElement[bool]]:
    if codes := chosen.get("codes"):
        yield _c.code.in_(codes)
    if stages := chosen.get("stages"):
        yield _c.stage.in_(stages)
    if states := chosen.get("states"):
        yield _c.state.in_(states)
    if (run_id := chosen.get("run_id")) is not None:
        yield _c.run_id == run_id
    if (source := chosen.get("source")) is not None:
        yield _c.source == source
    if (since := chosen.get("since")) is not None:
        yield _c.created_at >= since
    if (until := chosen.get("until")) is not None:
        yield _c.created_at < until


class DeadLetters:
    """The dead letters in PostgreSQL, to be read only.

    A letter is a mapping from the columns' names. Its facts are all but its content (`key`,
    `header`, `raw`, `sha256`) and what relays note for themselves.

    Every method raises `Unavailable` where PostgreSQL is away, and `Fatal` where the tables cannot
    be used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @translated()
    def counts(self, chosen: Filter) -> list[dict[str, Any]]:
        """How many `letters` there are by state, stage, code and field, most first."""
        by = (_c.state, _c.stage, _c.code, _c.field)
        number = func.count().label("letters")
        query = (
            select(*by, number)
            .where(*_conditions(chosen))
            .group_by(*by)
            .order_by(number.desc(), *by)
        )
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @translated()
    def latest(self, chosen: Filter, limit: int) -> list[dict[str, Any]]:
        """The facts of the latest letters, latest first."""
        query = select(*_FACTS).where(*_conditions(chosen)).order_by(_c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @translated()
    def one(self, letter: int) -> dict[str, Any] | None:
        """Facts and content of a letter by its id; None where there is none."""
        query = select(*_FACTS, *_CONTENT).where(_c.id == letter)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else dict(row)

    def every(self, chosen: Filter) -> Iterator[dict[str, Any]]:
        """Facts and content of these letters in the order of their ids, in bounded memory."""
        query = select(*_FACTS, *_CONTENT).where(*_conditions(chosen)).order_by(_c.id)
        with translated(), self._engine.connect() as connection:
            streamed = connection.execution_options(yield_per=_FETCH)
            for row in streamed.execute(query).mappings():
                yield dict(row)
