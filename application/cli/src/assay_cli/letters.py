"""What people ask of the dead letters: how many, which, and what stands in one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnClause, Engine, Select, column, func, select, table

_ORIGIN: Final = ("source", "partition", "position")
_FACTS: Final = (
    "id",
    "state",
    "stage",
    "code",
    "field",
    "message",
    "transaction_id",
    *_ORIGIN,
    "run_id",
    "retriable",
    "attempt",
    "model_version",
    "created_at",
    "published_at",
    "place",
    "length",
)
_CONTENT: Final = ("key", "header", "raw", "sha256")


def _column(name: str) -> ColumnClause[Any]:
    return column(name)


_letters: Final = table("dead_letters", *map(_column, (*_FACTS, *_CONTENT)))
_c: Final = _letters.c
_FETCH: Final = 100  # letters of up to 1 MiB that are held at once


@dataclass(frozen=True)
class Filter:
    """Which letters are meant: those to which all that is given applies.

    Attributes:
        codes: any of these; so are stages and states.
        stages: see `assay.domain.reject.Stage`.
        states: open, closed or discarded.
        run_id: that committed them.
        source: that they come from.
        since: when they were committed, at the earliest.
        until: the same, before it.
    """

    codes: Sequence[str] = ()
    stages: Sequence[str] = ()
    states: Sequence[str] = ()
    run_id: str | None = None
    source: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def of(self, query: Select[Any]) -> Select[Any]:
        """The query for these letters only."""
        for name, any_of in (("code", self.codes), ("stage", self.stages), ("state", self.states)):
            if any_of:
                query = query.where(_c[name].in_(any_of))
        if self.run_id is not None:
            query = query.where(_c.run_id == self.run_id)
        if self.source is not None:
            query = query.where(_c.source == self.source)
        if self.since is not None:
            query = query.where(_c.created_at >= self.since)
        if self.until is not None:
            query = query.where(_c.created_at < self.until)
        return query


def counts(engine: Engine, chosen: Filter) -> list[dict[str, Any]]:
    """How many `letters` there are by state, stage, code and field, most first."""
    by = [_c[name] for name in ("state", "stage", "code", "field")]
    number = func.count().label("letters")
    query = chosen.of(select(*by, number)).group_by(*by).order_by(number.desc(), *by)
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def latest(engine: Engine, chosen: Filter, limit: int) -> list[dict[str, Any]]:
    """The facts of the latest letters, without content, latest first."""
    query = chosen.of(select(*(_c[name] for name in _FACTS)))
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(_c.id.desc()).limit(limit)).mappings()
        return [dict(row) for row in rows]


def one(engine: Engine, letter: int) -> dict[str, Any] | None:
    """A letter with its content, by its id; None where there is none."""
    with engine.connect() as connection:
        row = connection.execute(select(_letters).where(_c.id == letter)).mappings().first()
        return None if row is None else dict(row)


def every(engine: Engine, chosen: Filter) -> Iterator[dict[str, Any]]:
    """These letters with their content in the order of their ids, in bounded memory."""
    with engine.connect() as connection:
        streamed = connection.execution_options(yield_per=_FETCH)
        for row in streamed.execute(chosen.of(select(_letters)).order_by(_c.id)).mappings():
            yield dict(row)
