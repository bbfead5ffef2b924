"""Dead letters as people look them up: how many, which, and what stands in one."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Any, Final

import polars as pl
from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Engine,
    Row,
    all_,
    any_,
    case,
    exists,
    func,
    literal,
    select,
)

from assay.domain.choice import ENOUGH, Filter
from assay.domain.reject import LETTERS
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.tables import dead_letter_actions, dead_letters, positions, redrives

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
    _c.topic_id,
    _c.position,
    _c.run_id,
    _c.retriable,
    _c.attempt,
    _c.model_version,
    _c.created_at,
    _c.tried_at,
    _c.published_at,
    _c.place,
    _c.length,
)
_CONTENT: Final = (_c.key, _c.header, _c.raw, _c.sha256)
IS_HELD: Final = exists().where(
    redrives.c.run_id == _c.redrive, redrives.c.leased_until > func.clock_timestamp()
)
"""Whether a redrive that is at work has claimed a letter."""
SIZE: Final = (
    func.coalesce(func.octet_length(_c.raw), 0)
    + func.coalesce(func.octet_length(_c.header), 0)
    + func.coalesce(func.octet_length(_c.key), 0)
)
"""Bytes of a letter, about."""
WHOLE: Final = SIZE + case(
    (_c.sha256.is_not(None), _c.length - func.coalesce(func.octet_length(_c.raw), 0)), else_=0
)
"""The same once its record is read again of which it holds the head only."""
_DOUBLINGS: Final = 32  # more of them overflow before they are cut
_PAGE: Final = 10_000
_PAGE_BYTES: Final = 8 << 20


def conditions(chosen: Filter) -> Iterator[ColumnElement[bool]]:
    """What rows of `dead_letters` must fulfil."""
    meant: dict[str, Callable[[Any], ColumnElement[bool]]] = {
        "codes": _c.code.in_,
        "stages": _c.stage.in_,
        "states": _c.state.in_,
        "ids": lambda ids: _c.id == any_(literal(list(ids), ARRAY(BigInteger))),
        "but": lambda ids: _c.id != all_(literal(list(ids), ARRAY(BigInteger))),
        "redrive": lambda run_id: _c.redrive == run_id,
        "run_id": lambda run_id: _c.run_id == run_id,
        "source": lambda source: _c.source == source,
        "source_prefix": lambda prefix: func.starts_with(_c.source, prefix),
        "model_version": lambda version: _c.model_version == version,
        "retriable": lambda retriable: _c.retriable == retriable,
        "max_attempts": lambda attempts: _c.attempt < attempts,
        "since": lambda since: _c.created_at >= since,
        "until": lambda until: _c.created_at < until,
        "due": _is_due,
        "held": lambda held: IS_HELD if held else ~IS_HELD,
        "cut": lambda cut: _c.sha256.is_not(None) if cut else _c.sha256.is_(None),
    }
    for name, value in chosen.items():
        if value is not None and value not in ((), []):
            yield meant[name](value)


def _is_due(since: timedelta) -> ColumnElement[bool]:
    longest = max(since, ENOUGH).total_seconds()
    doubled = func.power(2.0, func.least(_c.attempt - 1, _DOUBLINGS))
    seconds = func.least(since.total_seconds() * doubled, longest)
    due = func.coalesce(_c.tried_at, _c.created_at) + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return due <= func.now()


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
            .where(*conditions(chosen))
            .group_by(*by)
            .order_by(number.desc(), *by)
        )
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    @translated()
    def sources(self) -> set[str]:
        """Those that any letter, or any book, is of."""
        query = select(_c.source).union(select(positions.c.source))
        with self._engine.connect() as connection:
            return set(connection.scalars(query))

    @translated()
    def waiting(self) -> dict[str, int]:
        """How many letters wait to be published, by destination; those without are absent."""
        query = (
            select(_c.destination, func.count())
            .where(_c.published_at.is_(None))
            .group_by(_c.destination)
        )
        with self._engine.connect() as connection:
            return dict(connection.execute(query).all())

    @translated()
    def latest(self, chosen: Filter, limit: int) -> list[dict[str, Any]]:
        """The facts of the latest letters, latest first."""
        query = select(*_FACTS).where(*conditions(chosen)).order_by(_c.id.desc()).limit(limit)
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def pages(self, chosen: Filter, limit: int | None = None) -> Iterator[pl.DataFrame]:
        """These letters in the order of their ids, shaped as `LETTERS`, in bounded memory.

        So few at a time that they are also bounded when their whole records are read again. No
        transaction is open while the caller works, however long. Letters that come after the first
        page was asked for are left out.

        Args:
            chosen: which.
            limit: how many, at most.
        """
        columns = tuple(_c[name] for name in LETTERS)
        for rows in self._paged(columns, WHOLE, chosen, limit):
            yield pl.DataFrame([tuple(each) for each in rows], schema=LETTERS, orient="row")

    @translated()
    def one(self, letter: int) -> dict[str, Any] | None:
        """Facts and content of a letter by its id; None where there is none."""
        query = select(*_FACTS, *_CONTENT).where(_c.id == letter)
        with self._engine.connect() as connection:
            row = connection.execute(query).mappings().one_or_none()
            return None if row is None else dict(row)

    @translated()
    def actions(self, letter: int) -> list[dict[str, Any]]:
        """What was done with a letter since it was rejected, in order."""
        done = dead_letter_actions.c
        query = (
            select(done.at, done.action, done.by, done.code, done.reason, done.edits, done.run_id)
            .where(done.letter == letter)
            .order_by(done.id)
        )
        with self._engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def every(self, chosen: Filter) -> Iterator[dict[str, Any]]:
        """Facts and content of these letters, as `pages` goes through them."""
        columns = (*_FACTS, *_CONTENT)
        names = [each.name for each in columns]
        for rows in self._paged(columns, SIZE, chosen, None):
            yield from (dict(zip(names, row, strict=True)) for row in rows)

    def _paged(
        self,
        columns: Sequence[ColumnElement[Any]],
        size: ColumnElement[int],
        chosen: Filter,
        limit: int | None,
    ) -> Iterator[Sequence[Row[Any]]]:
        """Some columns of letters, as many at a time as hold 8 MiB together, one at least."""
        after, left, newest = 0, limit, self._newest()
        while left is None or left > 0:
            number = _PAGE if left is None else min(left, _PAGE)
            within = (*conditions(chosen), _c.id > after, _c.id <= newest)
            page = self._page(columns, size, within, number)
            if page is None:
                return
            after, rows = page
            left = None if left is None else left - len(rows)
            if rows:
                yield rows

    @translated()
    def _newest(self) -> int:
        with self._engine.connect() as connection:
            return connection.scalar(select(func.max(_c.id))) or 0

    @translated()
    def _page(
        self,
        columns: Sequence[ColumnElement[Any]],
        size: ColumnElement[int],
        within: Sequence[ColumnElement[bool]],
        limit: int,
    ) -> tuple[int, Sequence[Row[Any]]] | None:
        """The first of these, and the last one's id; None where there are none."""
        with self._engine.connect() as connection:
            sizes = select(_c.id, size).where(*within).order_by(_c.id).limit(limit)
            found = connection.execute(sizes).all()
            if not found:
                return None
            ends = accumulate(weight for _, weight in found)
            fitting = max(1, sum(end <= _PAGE_BYTES for end in ends))
            last = found[fitting - 1][0]
            rows = select(*columns).where(*within, _c.id <= last).order_by(_c.id)
            return last, connection.execute(rows).all()
