"""A Delta table as a target, each record exactly once.

With the rows each commit keeps, for every partition of a topic, where it ends: the application
transactions of the Delta protocol
(https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers), whose id names
topic, topic's id and partition, and whose version is the next position. Rows before that position
are there already. A commit is refused if another has moved the same partition since the table was
looked at: whoever is overtaken looks again.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Final, TypeAlias

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from assay.domain.errors import Unavailable
from assay.domain.outcome import Outcome
from assay.domain.position import TOPICS, Range
from assay.domain.reject import no_rejects
from assay.wire.predictions import ROWS, rows
from assay_adapters.lake.config import LakeConfig
from assay_adapters.lake.errors import translated

Storage: TypeAlias = Callable[[], Mapping[str, str]]
"""How the place is reached; asked each time, since credentials end."""

_TRIES: Final = 5  # before it is left to whoever waits
_DAY: Final = pl.col("timestamp").dt.date().alias("date")


class LakeTarget:
    """The port `assay.ports.target.Target` on a Delta table, by date; takes every record."""

    by_range = False

    def __init__(self, config: LakeConfig, storage: Storage = dict) -> None:
        """Writes nothing yet.

        Args:
            config: which table.
            storage: how its place is reached.
        """
        self._uri, self._storage = config.uri, storage

    def deliver(self, outcome: Outcome) -> pl.DataFrame:
        """Adds rows that are not there yet, as the port says, in one version of the table."""
        found = rows(outcome).with_columns(_DAY)
        names = {each: _name(outcome, each) for each in outcome.ranges}
        for _ in range(_TRIES):
            with translated(self._uri), suppress(CommitFailedError):
                table = self._table()
                begins = {each: table.transaction_version(names[each]) or 0 for each in names}
                behind = {each: at for each, at in begins.items() if at < each.next}
                new = found.filter(_is_behind(behind))
                if not new.is_empty():
                    _append(table, new, [Transaction(names[each], each.next) for each in behind])
                return no_rejects()
        raise Unavailable(f"others write to {self._uri} all the time")

    def close(self) -> None:
        """Nothing is held."""

    def _table(self) -> DeltaTable:
        storage = dict(self._storage())
        if not DeltaTable.is_deltatable(self._uri, storage):
            empty = pl.DataFrame(schema=ROWS | {"date": pl.Date})
            write_deltalake(
                self._uri, empty, mode="ignore", partition_by=["date"], storage_options=storage
            )
        return DeltaTable(self._uri, storage_options=storage)


def _append(table: DeltaTable, new: pl.DataFrame, ends: list[Transaction]) -> None:
    """Adds rows.

    Raises:
        CommitFailedError: another has moved one of these partitions meanwhile.
    """
    write_deltalake(
        table,
        new,
        mode="append",
        schema_mode="merge",
        commit_properties=CommitProperties(app_transactions=ends),
    )


def _is_behind(begins: Mapping[Range, int]) -> pl.Expr:
    """Whether a row is of one of these ranges, and not before the position beside it."""
    return pl.any_horizontal(
        pl.lit(value=False),
        *(
            (pl.col("partition") == each.partition) & (pl.col("position") >= at)
            for each, at in begins.items()
        ),
    )


def _name(outcome: Outcome, own: Range) -> str:
    """What the application transactions of a partition are called."""
    return f"assay/{outcome.source.removeprefix(TOPICS)}/{own.numbering}/{own.partition}"
