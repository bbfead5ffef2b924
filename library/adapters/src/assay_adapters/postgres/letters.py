"""Dead letters: handed out to relays, and shown to people."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Final
from uuid import uuid4

import polars as pl
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Connection,
    Engine,
    any_,
    func,
    literal,
    or_,
    select,
    update,
)

from assay.domain.reject import LETTERS
from assay.ports.letters import Claim
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.lookup import SIZE
from assay_adapters.postgres.tables import dead_letters

_c: Final = dead_letters.c
_ORIGIN: Final = (_c.source, _c.partition, _c.position)
_LETTER: Final = tuple(dead_letters.c[name] for name in LETTERS)
_WAITS: Final = _c.published_at.is_(None)
_CLAIM_BYTES: Final = 8 << 20


class PostgresLetters:
    """The port `assay.ports.letters.Letters` on PostgreSQL, whose clock the leases go by."""

    def __init__(
        self, engine: Engine, relay: str, *, lease: timedelta = timedelta(minutes=5)
    ) -> None:
        """The letters as one relay sees them.

        Args:
            engine: from `engine_for`.
            relay: a name that the relay keeps when it is started again and shares with no other.
            lease: how long a claim is left alone by other relays.
        """
        self._engine = engine
        self._relay = relay
        self._lease = lease

    @translated()
    def destinations(self, prefix: str) -> Sequence[str]:
        """Where letters wait to be published, of the destinations that begin so, in order."""
        waiting = select(_c.destination).where(_WAITS, func.starts_with(_c.destination, prefix))
        with self._engine.connect() as connection:
            return connection.scalars(waiting.distinct().order_by(_c.destination)).all()

    @translated()
    def claim(self, destination: str, limit: int) -> Claim | None:
        """The next letters for a destination, at most `limit`; None where none wait.

        Fewer are claimed where they hold more than 8 MiB together, since a relay holds all of
        them at once. A claim that was never stamped is handed out again, with the same name and
        letters: at once to the same relay, to others after its lease has run out.
        """
        waiting = (_c.destination == destination, _WAITS)
        free = or_(_c.relay == self._relay, _c.leased_until <= func.clock_timestamp())
        with self._engine.begin() as connection:
            unstamped = select(_c.claim).where(*waiting, _c.claim.is_not(None), free)
            for name in connection.scalars(unstamped.distinct().order_by(_c.claim)).all():
                # Another relay may take it at the same time; then it is no longer free.
                taken = select(_c.id).where(*waiting, _c.claim == name, free).order_by(*_ORIGIN)
                if held := connection.scalars(taken.with_for_update()).all():
                    return self._take(connection, held, name)
            fresh = select(_c.id, SIZE).where(*waiting, _c.claim.is_(None)).order_by(*_ORIGIN)
            found = connection.execute(fresh.limit(limit).with_for_update(skip_locked=True)).all()
            ends = accumulate(size for _, size in found)
            held = [each.id for each, end in zip(found, ends, strict=True) if end <= _CLAIM_BYTES]
            held = held or [each.id for each in found[:1]]
            return self._take(connection, held, uuid4().hex) if held else None

    @translated()
    def stamp(self, claim: Claim, place: str) -> None:
        """These letters are published, and where."""
        with self._engine.begin() as connection:
            connection.execute(
                update(dead_letters)
                .where(_c.claim == claim.name, _WAITS)
                .values(published_at=func.now(), place=place)
            )

    @translated()
    def set_aside(self, claim: Claim, rows: Collection[int]) -> Claim:
        """Takes letters out of a claim whose destination does not take them; returns the rest."""
        aside = literal([claim.ids[row] for row in rows], ARRAY(BigInteger))
        with self._engine.begin() as connection:
            connection.execute(
                update(dead_letters)
                .where(_c.id == any_(aside), _c.claim == claim.name, _WAITS)
                .values(
                    claim=uuid4().hex,
                    relay=None,
                    leased_until=func.clock_timestamp() + self._lease,
                )
            )
        return claim.without(rows)

    @translated()
    def give_back(self) -> None:
        """What this relay has claimed and not stamped is handed out to whoever asks, at once."""
        with self._engine.begin() as connection:
            connection.execute(
                update(dead_letters)
                .where(_WAITS, _c.relay == self._relay)
                .values(leased_until=func.clock_timestamp())
            )

    def _take(self, connection: Connection, held: Sequence[int], name: str) -> Claim:
        """Leases these letters to this relay under a name."""
        rows = connection.execute(
            update(dead_letters)
            .where(_c.id == any_(literal(held, ARRAY(BigInteger))))
            .values(
                claim=name,
                relay=self._relay,
                leased_until=func.clock_timestamp() + self._lease,
            )
            .returning(_c.id, *_LETTER)
        )
        letters = pl.DataFrame(rows.all(), schema={"id": pl.Int64, **LETTERS}, orient="row").sort(
            "source", "partition", "position", "id"
        )
        return Claim(name, letters.drop("id"), letters["id"].to_list())
