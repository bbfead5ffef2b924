"""Dead letters in PostgreSQL, claimed by redrives."""

from collections.abc import Mapping
from datetime import timedelta
from itertools import accumulate
from typing import Final

import polars as pl
from sqlalchemy import Connection, Engine, delete, exists, func, insert, select, update

from assay.domain.choice import Filter
from assay.domain.errors import Fenced
from assay.domain.reject import LETTERS
from assay.ports.selection import LOST, Readable
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.lookup import WHOLE, conditions
from assay_adapters.postgres.tables import dead_letters, redrives

_LOCK: Final = 0x7265647269766573  # a number that no other program locks
_c: Final = dead_letters.c
_PAGE_BYTES: Final = 8 << 20


def alone(connection: Connection) -> None:
    """Waits until nobody else claims, discards or imports letters in a transaction of theirs.

    What they do is seen by the next statement; a statement that waited for a row would not see it.
    """
    connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))


class PostgresSelection:
    """The port `assay.ports.selection.Selection` on PostgreSQL, whose clock the leases go by."""

    def __init__(
        self,
        engine: Engine,
        run_id: str,
        *,
        by: str,
        edits: Mapping[str, str] | None = None,
        lease: timedelta = timedelta(minutes=5),
    ) -> None:
        """What one redrive claims letters with.

        Args:
            engine: from `engine_for`.
            run_id: its name.
            by: who has asked for it; kept with what is done to each letter, as are
            edits: what is put in place of some columns.
            lease: how long the claim is left alone by others.
        """
        self._engine = engine
        self._run_id = run_id
        self._by, self._edits, self._lease = by, dict(edits or {}), lease

    @translated()
    def claim(self, chosen: Filter, limit: int | None, readable: Readable) -> int:
        """Claims open letters that nobody else holds, all at once; once for a run."""
        with self._engine.begin() as connection:
            alone(connection)
            over = redrives.c.leased_until <= func.clock_timestamp()
            connection.execute(delete(redrives).where(over))
            is_held = exists().where(redrives.c.run_id == _c.redrive)
            free = (
                select(_c.id)
                .where(*conditions(chosen), _c.state == "open", ~is_held)
                .order_by(_c.id)
                .limit(limit)
                .with_for_update(skip_locked=True, of=dead_letters)
                .cte("free")
            )
            numbers = func.row_number().over(order_by=free.c.id) - 1
            numbered = select(free.c.id, numbers.label("number")).cte("numbered")
            taken = (
                update(dead_letters)
                .where(_c.id == numbered.c.id)
                .values(redrive=self._run_id, number=numbered.c.number)
                .returning(_c.source)
                .cte("taken")
            )
            counted = select(taken.c.source, func.count()).group_by(taken.c.source)
            sources = dict(connection.execute(counted).all())
            readable(sources)
            if sources:
                connection.execute(
                    insert(redrives).values(
                        run_id=self._run_id,
                        lease=self._lease,
                        leased_until=func.clock_timestamp() + self._lease,
                        by=self._by,
                        edits=self._edits,
                    )
                )
            return sum(sources.values())

    @translated()
    def page(self, first: int, limit: int) -> pl.DataFrame:
        """The claimed letters from a number on; fewer where they hold more than 8 MiB together.

        What counts are whole records: those that were cut are read again by whoever gets them.
        """
        own = (_c.redrive == self._run_id, _c.number >= first)
        with self._engine.connect() as connection:
            is_held = exists().where(redrives.c.run_id == self._run_id)
            if not connection.scalar(select(is_held)):
                raise Fenced((), LOST)
            sizes = select(WHOLE).where(*own).order_by(_c.number).limit(limit)
            ends = list(accumulate(connection.scalars(sizes)))
            fitting = max(1, sum(end <= _PAGE_BYTES for end in ends))
            rows = select(*(_c[name] for name in LETTERS)).where(*own, _c.number < first + fitting)
            letters = connection.execute(rows.order_by(_c.number)).all()
            return pl.DataFrame(letters, schema=LETTERS, orient="row")

    @translated()
    def renew(self) -> None:
        """Begins the lease anew."""
        with self._engine.begin() as connection:
            renewed = connection.execute(
                update(redrives)
                .where(redrives.c.run_id == self._run_id)
                .values(leased_until=func.clock_timestamp() + self._lease)
            )
            if not renewed.rowcount:
                raise Fenced((), LOST)

    @translated()
    def free(self) -> None:
        """Gives up what is left of the claim; nothing where there is none."""
        with self._engine.begin() as connection:
            connection.execute(delete(redrives).where(redrives.c.run_id == self._run_id))
