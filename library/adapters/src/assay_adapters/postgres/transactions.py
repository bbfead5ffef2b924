"""Stored transactions: as a source, whose partition is the table, or to be looked at only."""

import io
from collections.abc import Collection, Iterable, Iterator
from typing import Final, cast

import polars as pl
import psycopg
from psycopg import sql
from sqlalchemy import Connection, Engine, Row, select, text

from assay.domain.chunk import RECORDS, Chunk, Idle, Revoked
from assay.domain.errors import Unavailable
from assay.domain.position import Partition, Position, Positions, Range
from assay.domain.rescore import StoredChunk, entry_at, position_of
from assay.domain.rules import COLUMNS
from assay.domain.transaction import TRANSACTIONS
from assay.ports.clock import Clock
from assay.ports.source import AskPositions, Drain, no_drain
from assay_adapters.postgres.connection import translated, unlimited
from assay_adapters.postgres.tables import positions

_ENDLESS: Final = 2**63 - 1
_TICK: Final = 0.1  # seconds
_PATIENT: Final = 5.0  # seconds that commits may take which began before
_PAGE: Final = 5_000  # ledger entries that are looked at together
# All that is committed later has a higher number, but for what is being committed just now.
_LAST: Final = text("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM ledger_entry")
# Whoever draws a number has written to `positions` before, and holds this lock until the end.
_COMMITTING: Final = text("""
    SELECT virtualtransaction
    FROM pg_locks
    WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND granted
        AND relation = to_regclass('positions')
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
""")
_ENTRIES: Final = text("""
    SELECT entry, classified
    FROM ledger
    WHERE entry BETWEEN :first AND :last AND classified > 0 AND NOT starts_with(source, 'rescore/')
    ORDER BY entry
    LIMIT :limit
""")
_LATEST: Final = text("""
    SELECT entry, classified
    FROM ledger
    WHERE entry < :before AND classified > 0 AND NOT starts_with(source, 'rescore/')
    ORDER BY entry DESC
    LIMIT :limit
""")
_TO_COME: Final = text("""
    SELECT coalesce(sum(classified), 0)::bigint
    FROM ledger
    WHERE entry >= :first AND NOT starts_with(source, 'rescore/')
""")
_TEXTS: Final = tuple(each for each in COLUMNS if each not in {"amount", "timestamp"})
# In CSV a null is what has no quotes.
_READ: Final = sql.SQL("""
    COPY (
        SELECT {columns}, amount, (extract(epoch FROM timestamp) * 1000000)::bigint, number
        FROM transactions
        WHERE number >= {first} AND number < {next}
        ORDER BY number
    ) TO STDOUT (FORMAT csv, FORCE_QUOTE ({columns}))
""")
_ROWS: Final = pl.Schema(
    dict.fromkeys((*_TEXTS, "amount"), pl.String())
    | dict.fromkeys(("timestamp", "number"), pl.Int64())
)


class TransactionSource:
    """Hands out what the table of transactions held when reading began, in bounded memory.

    A range covers whole ledger entries, a position is made of an entry's number (see
    `assay.domain.rescore`), so that rows may be moved on the disk as anybody likes. It is never
    finished: what is committed later comes later. Commits that are under way when reading begins
    are waited for, since their numbers may be low.
    """

    def __init__(
        self,
        engine: Engine,
        partition: Partition,
        clock: Clock,
        *,
        chunk_records: int = 50_000,
        limit: int | None = None,
        rate: float | None = None,
    ) -> None:
        """Composes a source.

        Args:
            engine: from `engine_for`.
            partition: the name under which the table's position is kept.
            clock: monotonic.
            chunk_records: of a chunk, at most; more where one ledger entry has more.
            limit: transactions after which nothing more is handed out; the ledger entry that
                reaches it is handed out whole.
            rate: transactions that are handed out in a second, at most, over any longer time.
        """
        self._engine, self._partition, self._clock = engine, partition, clock
        self._rate, self._left = rate, limit
        # Of an infinite rate there is no whole number.
        self._chunk_records = int(min(chunk_records, max(rate or chunk_records, 1)))
        self._at: Position | None = None  # None: the store is to be asked
        self._handed: Position | None = None
        self._last: int | None = None  # the last entry that is read
        self._awaited: frozenset[str] = frozenset()  # commits that may have a lower one
        self._is_settled = self._is_over = self._paused = False
        self._settles_until = self._next = clock.now()

    def events(
        self,
        positions: AskPositions,
        drain: Drain = no_drain,  # noqa: ARG002 - the table is never taken away
    ) -> Iterator[Chunk | Revoked | Idle]:
        """What happens, one event at a time, until all is handed out and acked.

        Raises:
            Unavailable: PostgreSQL is away, or a commit that began before does not end.
        """
        while True:
            if self._paused:
                yield Idle()
            elif self._at is None:
                if not self._ask(positions):
                    yield Idle()
            elif self._is_over or self._at.end == "finished":
                if self._handed is None:
                    return
                yield Idle()
            elif (early := self._early()) > 0:
                self._clock.wait((), min(early, _TICK))
                yield Idle()
            elif (chunk := self._chunk(self._at.next)) is not None:
                yield chunk

    def pause(self, on: bool) -> None:  # noqa: FBT001 - as the port has it
        """Hands out no chunk while on."""
        self._paused = on

    def rewind(self, partitions: Collection[Partition]) -> None:
        """Starts again from where the store stands."""
        if self._partition in partitions:
            self._at = self._handed = None
            self._is_over = False

    def ack(self, positions: Positions) -> None:
        """These are committed."""
        if positions.get(self._partition) == self._handed:
            self._handed = None

    def _ask(self, positions: AskPositions) -> bool:
        try:
            found = positions([self._partition]).get(self._partition, Position(0))
        except Unavailable:
            return False
        self._at = Position(found.next, "finished" if found.end == "finished" else None)
        return True

    def _early(self) -> float:
        """Seconds until a chunk may be handed out."""
        if not self._is_settled and not self._settle():
            return _TICK
        return self._next - self._clock.now()

    @translated()
    def _settle(self) -> bool:
        """Whether all that has a number up to the last one is committed, or never will be."""
        if self._last is None:
            # One after the other: a number that is drawn in between is not among those read.
            with self._engine.connect() as connection:
                last = connection.execute(_LAST).scalar_one()
                self._awaited = frozenset(connection.execute(_COMMITTING).scalars())
            self._last = last
            self._settles_until = self._clock.now() + _PATIENT
        elif self._awaited:
            with self._engine.connect() as connection:
                self._awaited &= frozenset(connection.execute(_COMMITTING).scalars())
        self._is_settled = not self._awaited
        if not self._is_settled and self._clock.now() >= self._settles_until:
            raise Unavailable("a commit to PostgreSQL that began before this run does not end")
        return self._is_settled

    @translated()
    def _chunk(self, first: int) -> StoredChunk | None:
        """The next chunk; None where there are no more transactions."""
        entries = self._entries(entry_at(first))
        if not entries:
            self._is_over = True
            return None
        after = entries[-1] + 1
        with self._engine.begin() as connection:
            rows = _read(connection, entries[0], after)
        self._left = None if self._left is None else self._left - rows.height
        self._is_over = self._last == entries[-1] or (self._left is not None and self._left <= 0)
        if self._rate is not None:
            self._next = max(self._next, self._clock.now() - 1) + rows.height / self._rate
        covered = Range(self._partition, first, position_of(after), rows.height)
        self._at = self._handed = covered.position
        records = _records(rows, self._partition)
        transactions = rows.select(pl.col(each) for each in TRANSACTIONS)
        return StoredChunk((covered,), records, is_last=self._is_over, transactions=transactions)

    def _entries(self, first: int) -> list[int]:
        """The next ledger entries that have transactions, as many as make a chunk."""
        bounds = {"first": first, "last": self._last, "limit": _PAGE}
        with self._engine.connect() as connection:
            found = connection.execute(_ENTRIES, bounds).all()
        enough = min(self._chunk_records, self._left or self._chunk_records)
        return _fitting(found, enough, self._chunk_records)


def _fitting(found: Iterable[Row[int, int]], enough: int, most: int) -> list[int]:
    """The first of some ledger entries, one at least, until there are enough transactions."""
    entries: list[int] = []
    total = 0
    for entry, classified in found:
        if entries and (total >= enough or total + classified > most):
            break
        entries.append(entry)
        total += classified
    return entries


def latest(
    engine: Engine, limit: int | None = None, *, chunk_records: int = 50_000
) -> Iterator[pl.DataFrame]:
    """The transactions that are stored, those that were committed last first, in bounded memory.

    No database transaction is open while the caller works, however long. What begins to be
    committed after the first frame was asked for is left out.

    Args:
        engine: from `engine_for`.
        limit: how many, at most.
        chunk_records: of a frame, at most; more where one ledger entry has more.

    Yields:
        Frames shaped as `TRANSACTIONS`, each in the order of the commits.

    Raises:
        Unavailable: PostgreSQL is away.
    """
    before, left = _ENDLESS, limit
    while left is None or left > 0:
        enough = min(chunk_records, left or chunk_records)
        rows, before = _before(engine, before, enough, chunk_records)
        if rows is None:
            return
        kept = rows if left is None else rows.tail(left)
        left = None if left is None else left - kept.height
        if not kept.is_empty():  # as where rows were deleted by hand
            yield kept.select(TRANSACTIONS.names())


@translated()
def _before(engine: Engine, before: int, enough: int, most: int) -> tuple[pl.DataFrame | None, int]:
    """The transactions of the ledger entries before one, and the first of these; None: no more."""
    with engine.begin() as connection:
        found = connection.execute(_LATEST, {"before": before, "limit": _PAGE}).all()
        entries = _fitting(found, enough, most)
        if not entries:
            return None, before
        return _read(connection, entries[-1], entries[0] + 1), entries[-1]


@translated()
def passes(engine: Engine, source: str) -> Positions:
    """Where each partition of a source stands."""
    standing = (
        positions.c.partition,
        positions.c.next,
        positions.c.end_state,
        positions.c.numbering,
    )
    with engine.connect() as connection:
        rows = connection.execute(select(*standing).where(positions.c.source == source))
        return {partition: Position(*at) for partition, *at in rows}


@translated()
def to_come(engine: Engine, position: Position | None) -> int:
    """How many transactions the ledger has from a position on, or in all where there is none."""
    first = 0 if position is None else entry_at(position.next)
    with engine.begin() as connection, unlimited(connection):
        return connection.execute(_TO_COME, {"first": first}).scalar_one()


def _read(connection: Connection, first: int, after: int) -> pl.DataFrame:
    """The transactions of a stretch of ledger entries, in the order of their numbers.

    Returns:
        Shaped as `TRANSACTIONS`, with `number` besides.
    """
    # Without statistics the whole table might be read for each chunk.
    connection.execute(text("SET LOCAL enable_seqscan = off"))
    statement = _READ.format(
        columns=sql.SQL(", ").join(map(sql.Identifier, _TEXTS)),
        first=position_of(first),
        next=position_of(after),
    )
    driver = cast("psycopg.Connection", connection.connection.driver_connection)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        written = b"".join(copy)
    rows = _parsed(written).with_row_index("row")
    moment = pl.col("timestamp").cast(pl.Datetime("us", "UTC"))
    return rows.with_columns(moment).select(
        "number", *(pl.col(name).cast(dtype) for name, dtype in TRANSACTIONS.items())
    )


def _parsed(written: bytes) -> pl.DataFrame:
    if not written:
        return pl.DataFrame(schema=_ROWS)
    return pl.read_csv(io.BytesIO(written), has_header=False, schema=_ROWS)


def _records(rows: pl.DataFrame, partition: Partition) -> pl.DataFrame:
    """What stands for these transactions in a chunk: each one's id in place of its bytes."""
    raw = pl.col("transaction_id").cast(pl.Binary)
    given = {
        "partition": pl.lit(partition),
        "position": pl.col("number"),
        "raw": raw,
        "length": raw.bin.size(),
    }
    return rows.select(
        given.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in RECORDS.items()
    )
