"""The store: an outcome in one transaction."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

import polars as pl
import psycopg
from sqlalchemy import (
    ARRAY,
    BigInteger,
    CollectionAggregate,
    Connection,
    Engine,
    Select,
    any_,
    exc,
    func,
    insert,
    literal,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from assay.domain.errors import Fenced
from assay.domain.outcome import Outcome
from assay.domain.position import End, Partition, Position, Positions, Range
from assay.domain.prediction import PREDICTIONS
from assay.domain.reject import REDRIVE
from assay.domain.rescore import is_rescore, position_of
from assay.domain.rules import COLUMNS
from assay.domain.settle import KNOWN, Settled, nothing_known, settle, tallies
from assay.domain.tally import Tally
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.copy import copy_into
from assay_adapters.postgres.rejects import keep_letters, settle_letters
from assay_adapters.postgres.tables import (
    KEY,
    ledger,
    ledger_entry,
    positions,
    predictions,
    transactions,
)

_TRANSACTION: Final = (*COLUMNS, "number", "content_hash", "entry", "position")
_PREDICTION: Final = (
    "number",
    *(name for name in PREDICTIONS if name != "row"),
    "entry",
    "processing_type",
)
_PLACE: Final = pl.int_range(pl.len(), dtype=pl.Int64).over("entry")
_NUMBER: Final = pl.col("entry") * position_of(1) + _PLACE
_END_SILENT: Final = text("""
    SELECT pg_terminate_backend(pid)
    FROM pg_stat_activity
    WHERE datname = current_database() AND usename = current_user
        AND application_name = current_setting('application_name')
        AND state = 'active' AND wait_event = 'ClientRead' AND query LIKE 'COPY "%") FROM STDIN %'
        AND query_start
            < clock_timestamp() - current_setting('idle_in_transaction_session_timeout')::interval
""")
_MOVED: Final = ("next", "end_state", "numbering", "run_id", "updated_at")
_UNIT: Final = "\x1f"
_TALLY: Final = (
    ledger.c.read,
    ledger.c.classified,
    ledger.c.rejected,
    ledger.c.duplicate,
    ledger.c.needs_review,
)


COMMITTING: Final = {"db.system.name": "postgresql", "db.operation.name": "COMMIT"}
"""What a commit is called in traces, by OpenTelemetry's conventions for databases."""


class PostgresStore:
    """The port `assay.ports.store.Store` on PostgreSQL."""

    def __init__(self, engine: Engine, *, processing_type: str) -> None:
        """A store on migrated tables.

        Args:
            engine: from `engine_for`.
            processing_type: the kind of the runs that commit; kept with each prediction.
        """
        self._engine = engine
        self._processing_type = processing_type
        self._collides = False

    @translated()
    def positions(self, source: str, partitions: Sequence[Partition]) -> Positions:
        """Where each of these partitions stands; those never committed are absent."""
        with self._engine.connect() as connection:
            return _positions(connection, _where(source, partitions))

    @translated()
    def commit(self, outcome: Outcome) -> Tally:
        """Sorts the outcome by what the tables hold, and keeps it, as the port says."""
        if not outcome.ranges:
            return Tally()
        try:
            return self._commit(outcome)
        except (exc.OperationalError, psycopg.errors.LockNotAvailable) as error:
            if isinstance(getattr(error, "orig", error), psycopg.errors.LockNotAvailable):
                self._end_silent()
            raise

    def _commit(self, outcome: Outcome) -> Tally:
        with self._engine.begin() as connection:
            if fenced := _hold(connection, outcome):
                stored = _stored(connection, outcome)
                if stored is None:
                    raise Fenced(fenced)
                return stored
            entries = _draw(connection, len(outcome.ranges))
            settled = self._keep(connection, outcome, entries)
            if not is_rescore(outcome.source):
                of_letters = settle_letters if outcome.source == REDRIVE else keep_letters
                of_letters(connection, outcome, pl.concat([outcome.rejects, settled.rejects]))
            found = tallies(outcome, settled)
            _enter(connection, outcome, entries, found)
            return sum(found, Tally())

    def _end_silent(self) -> None:
        """Cuts off commits whose client froze while it copied: no timeout of the server does."""
        with self._engine.begin() as connection:
            connection.execute(_END_SILENT)

    @translated()
    def recent(self, source: str, partition: Partition | None, records: int) -> Tally:
        """The sum of the latest ledger entries that reach that many records, as the port says."""
        latest = select(ledger.c.accepts_rejects, *_TALLY).where(ledger.c.source == source)
        if partition is None:
            latest = latest.order_by(ledger.c.entry.desc())
        else:
            latest = latest.where(ledger.c.partition == partition).order_by(ledger.c.first.desc())
        total = Tally()
        # A ledger may be long: it is read only as far as needed.
        with (
            self._engine.connect() as connection,
            connection.execution_options(yield_per=100).execute(latest) as rows,
        ):
            for accepts_rejects, *row in rows:
                if accepts_rejects or total.read >= records:
                    break
                total += Tally(*row)
        return total

    def _keep(self, connection: Connection, outcome: Outcome, entries: Sequence[int]) -> Settled:
        """Writes the transactions that are new, and their predictions; of a rescore these only."""
        origin = outcome.records.select("partition", "position")[outcome.classified["row"]]
        of = {each.partition: entry for each, entry in zip(outcome.ranges, entries, strict=True)}
        classified = pl.concat([outcome.classified, origin], how="horizontal").with_columns(
            entry=pl.col("partition").replace_strict(of, return_dtype=pl.Int64),
            processing_type=pl.lit(self._processing_type),
        )
        rescored = is_rescore(outcome.source)
        find = _predicted if rescored else _known
        # Known ids come in series: after the first it is quicker to ask before than to run into it.
        known = find(connection, classified) if self._collides else nothing_known()
        while True:
            settled = settle(classified, known)
            # In the order of the key COPY is quicker, and no two commits wait for each other.
            rows = settled.new
            if not rows["transaction_id"].is_sorted():
                rows = rows.sort("transaction_id")
            rows = rows.with_columns(number=pl.col("position") if rescored else _NUMBER)
            try:
                with connection.begin_nested():
                    if not rescored:
                        copy_into(connection, transactions, rows.select(_TRANSACTION))
                    copy_into(connection, predictions, rows.select(_PREDICTION))
            except psycopg.errors.UniqueViolation:
                before, known = known.height, find(connection, classified)
                if known.height == before:  # It is not what was looked for that collides.
                    raise
            else:
                self._collides = not known.is_empty()
                return settled


def _where(
    source: str, partitions: Iterable[Partition]
) -> Select[str, int, End | None, str | None]:
    standing = positions.c.partition, positions.c.next, positions.c.end_state, positions.c.numbering
    return select(*standing).where(
        positions.c.source == source,
        positions.c.partition == any_(literal(list(partitions), ARRAY(KEY))),
    )


def _positions(
    connection: Connection, where: Select[str, int, End | None, str | None]
) -> dict[Partition, Position]:
    return {row.partition: Position(*row[1:]) for row in connection.execute(where)}


def _hold(connection: Connection, outcome: Outcome) -> list[Range]:
    """Locks the outcome's partitions, and returns the ranges whose partition stands elsewhere."""
    # A partition without a row could not be locked.
    begins = [
        {"source": outcome.source, "partition": each.partition, "next": each.first}
        for each in sorted(outcome.ranges)
    ]
    connection.execute(
        upsert(positions).values(run_id=outcome.run_id).on_conflict_do_nothing(), begins
    )
    locked = _where(outcome.source, (each.partition for each in outcome.ranges))
    standing = _positions(connection, locked.order_by(positions.c.partition).with_for_update())
    return [each for each in outcome.ranges if not each.follows(standing[each.partition])]


def _draw(connection: Connection, number: int) -> Sequence[int]:
    """New numbers for ledger entries; one that is not used leaves a hole."""
    drawn = select(ledger_entry.next_value()).select_from(func.generate_series(1, number))
    return connection.scalars(drawn).all()


def _stored(connection: Connection, outcome: Outcome) -> Tally | None:
    """The tally of an outcome whose ranges were all committed before by the same run."""
    entries = select(
        ledger.c.partition,
        ledger.c.first,
        ledger.c.next,
        ledger.c.read,
        ledger.c.end_state,
        *_TALLY,
    ).where(
        ledger.c.source == outcome.source,
        ledger.c.run_id == outcome.run_id,
        ledger.c.partition == any_(literal([e.partition for e in outcome.ranges], ARRAY(KEY))),
        ledger.c.first == any_(literal([e.first for e in outcome.ranges], ARRAY(BigInteger))),
    )
    found = {Range(*row[:5]): Tally(*row[5:]) for row in connection.execute(entries)}
    asked = [replace(each, numbering=None) for each in outcome.ranges]
    if not all(each in found for each in asked):
        return None
    return sum((found[each] for each in asked), Tally())


def _known(connection: Connection, classified: pl.DataFrame) -> pl.DataFrame:
    """What the table holds of the ids of these, shaped as `KNOWN`."""
    rows = connection.execute(
        select(transactions.c.transaction_id, transactions.c.content_hash).where(
            transactions.c.transaction_id == _any_of(classified["transaction_id"])
        )
    )
    return pl.DataFrame(rows.all(), schema=KNOWN, orient="row")


def _predicted(connection: Connection, classified: pl.DataFrame) -> pl.DataFrame:
    """Those of these that have a prediction of the same model and version, shaped as `KNOWN`."""
    found: list[pl.DataFrame] = []
    for (name, version), same in classified.group_by("model_name", "model_version"):
        numbers = connection.scalars(
            select(predictions.c.number).where(
                predictions.c.number.between(same["position"].min(), same["position"].max()),
                predictions.c.model_name == name,
                predictions.c.model_version == version,
            )
        )
        has_one = pl.Series(numbers.all(), dtype=pl.Int64).implode()
        found.append(same.filter(pl.col("position").is_in(has_one)).select(KNOWN.names()))
    return pl.concat(found).unique("transaction_id") if found else nothing_known()


def _any_of(ids: pl.Series) -> CollectionAggregate[bool]:
    # One text is sent quicker than an array; no id holds a control character.
    return any_(func.string_to_array(ids.str.join(_UNIT).item(), _UNIT, type_=ARRAY(KEY)))


def _enter(
    connection: Connection, outcome: Outcome, entries: Sequence[int], found: Sequence[Tally]
) -> None:
    """Writes the ledger entries and moves the positions."""
    entered = zip(entries, outcome.ranges, found, strict=True)
    connection.execute(
        insert(ledger).values(
            source=outcome.source, run_id=outcome.run_id, accepts_rejects=outcome.accepts_rejects
        ),
        [
            {
                "entry": entry,
                "partition": each.partition,
                "first": each.first,
                "next": each.next,
                "end_state": each.end,
                **vars(tally),
            }
            for entry, each, tally in entered
        ],
    )
    moved = upsert(positions).values(run_id=outcome.run_id)
    connection.execute(
        moved.on_conflict_do_update(
            constraint=positions.primary_key,
            set_={name: moved.excluded[name] for name in _MOVED},
        ),
        [
            {
                "source": outcome.source,
                "partition": each.partition,
                "next": each.next,
                "end_state": each.end,
                "numbering": each.numbering,
            }
            for each in outcome.ranges
        ],
    )
