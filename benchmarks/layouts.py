"""Tables cut in other ways than `assay migrate` does, and rows in them before a run.

Only on databases that end with the benchmark: Assay supports none of this.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from sample import MASK, MULTIPLIER

TABLES: Final = ("predictions", "transactions")
LAYOUTS: Final = ("plain", "hash", "month")

_HASHES: Final = 16
_MONTHS: Final = 12
_SAMPLE_MONTH: Final = (2024, 4)  # of the sample's times
_CUT_BY: Final = {"transactions": "timestamp", "predictions": "created_at"}
_FILL: Final = 70  # per cent of a page: as full as an index is that has grown by ids without order
_KEYS: Final = """
    SELECT indexrelid::regclass::text, indisprimary, pg_get_indexdef(indexrelid),
        ARRAY(SELECT attname::text FROM unnest(indkey) WITH ORDINALITY AS key (number, place)
            JOIN pg_attribute ON attrelid = indrelid AND attnum = number ORDER BY place)
    FROM pg_index WHERE indrelid = %s::regclass ORDER BY indexrelid
"""
_APART: Final = 1 << 50  # between the numbers of two copies, all lower than those of what comes
_COUNTED: Final = "substr(transaction_id, 2)::bigint"
_SIZES: Final = """
    SELECT sum(pg_table_size(oid))::bigint, sum(pg_indexes_size(oid))::bigint
    FROM pg_class
    WHERE oid = ANY(%(tables)s::regclass[]) OR oid IN (
        SELECT inhrelid FROM pg_inherits WHERE inhparent = ANY(%(tables)s::regclass[])
    )
"""


@dataclass(frozen=True)
class Key:
    """An index of a table.

    Attributes:
        name: its name.
        primary: whether it is the primary key.
        definition: the command that makes it.
        columns: of it.
    """

    name: str
    primary: bool
    definition: str
    columns: list[str]


def execute(connection: psycopg.Connection[Any], *statements: str) -> None:
    """Executes statements that were put together here."""
    for each in statements:
        connection.execute(each.encode())


def cut(connection: psycopg.Connection[Any], layout: str) -> dict[str, list[Key]]:
    """Makes the empty tables anew as this layout has them; returns their keys.

    Views over them are gone afterwards, but where the layout is that of `assay migrate`.
    """
    keys = {each: [Key(*row) for row in connection.execute(_KEYS, [each])] for each in TABLES}
    if layout == "plain":
        return keys
    for table in TABLES:
        by, partitions = _partitions(table, layout)
        execute(
            connection,
            f"CREATE TABLE cut (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
            f" PARTITION BY {by}",
            f"DROP TABLE {table} CASCADE",
            f"ALTER TABLE cut RENAME TO {table}",
            *partitions,
        )
        if layout == "month":
            for each in keys[table]:
                if each.primary:
                    each.columns.append(_CUT_BY[table])
        make_keys(connection, table, keys[table])
    return keys


def make_keys(connection: psycopg.Connection[Any], table: str, keys: Sequence[Key]) -> None:
    """Makes a table's keys, and lets PostgreSQL look at its rows."""
    for each in keys:
        primary = (
            f"ALTER TABLE {table} ADD CONSTRAINT {each.name}"
            f" PRIMARY KEY ({', '.join(each.columns)}) WITH (fillfactor = {_FILL})"
        )
        execute(connection, primary if each.primary else each.definition)
    execute(connection, f"VACUUM (ANALYZE) {table}")


def drop_keys(connection: psycopg.Connection[Any], table: str, keys: Sequence[Key]) -> None:
    """Drops them: rows come quicker without."""
    for each in keys:
        by_table = f"ALTER TABLE {table} DROP CONSTRAINT {each.name}"
        execute(connection, by_table if each.primary else f"DROP INDEX {each.name}")


def seed(connection: psycopg.Connection[Any]) -> None:
    """Keeps the rows of the tables to make copies of."""
    for table in TABLES:
        execute(connection, f"CREATE TABLE seed_{table} AS TABLE {table}")


def multiply(connection: psycopg.Connection[Any], table: str, copy: int, records: int) -> None:
    """Adds a copy of the seed: rows of the year that ends with the seed's month.

    Args:
        connection: outside of a transaction.
        table: which.
        copy: its number, from 1 on, each used once.
        records: of the sample that the seed is from: copy by copy they go on counting where it
            ends, so that no id comes twice.
    """
    shift = copy * ((records * MULTIPLIER) & MASK)
    earlier = f"make_interval(months => (number % {_MONTHS})::int)"
    written = {
        "number": f"number - {copy * _APART}",
        "transaction_id": f"'T' || lpad((({_COUNTED} + {shift}) & {MASK})::text, 13, '0')",
        **{name: f"{name} - {earlier}" for name in ("timestamp", "created_at")},
    }
    names = _columns(connection, table)
    select = ", ".join(written.get(each, each) for each in names)
    execute(
        connection,
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {select} FROM seed_{table}",  # noqa: S608 - ours
    )


def remove(connection: psycopg.Connection[Any], since: int, present: int) -> None:
    """Removes what a run has added: rows after this ledger entry, and its books."""
    execute(connection, "TRUNCATE ledger, positions, runs, dead_letters")
    if not present:
        execute(connection, f"TRUNCATE {', '.join(TABLES)}")
        return
    for table in TABLES:
        execute(
            connection,
            f"DELETE FROM {table} WHERE entry > {since}",  # noqa: S608 - ours
            f"VACUUM (ANALYZE) {table}",
        )


def sizes(connection: psycopg.Connection[Any]) -> tuple[int, int]:
    """Bytes of both tables with all their partitions, and of their indexes."""
    row = connection.execute(_SIZES, {"tables": list(TABLES)}).fetchone()
    heap, indexes = row or (0, 0)
    return heap, indexes


def highest_entry(connection: psycopg.Connection[Any]) -> int:
    """The last ledger entry that was drawn."""
    row = connection.execute(
        "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM ledger_entry"
    ).fetchone()
    return row[0] if row else 0


def logged(connection: psycopg.Connection[Any]) -> int:
    """Bytes that the server has logged since it was made."""
    row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
    return int(row[0]) if row else 0


def _columns(connection: psycopg.Connection[Any], table: str) -> list[str]:
    rows = connection.execute(
        "SELECT attname::text FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [table],
    )
    return [name for (name,) in rows]


def _partitions(table: str, layout: str) -> tuple[str, Iterator[str]]:
    """How a table is cut, and the commands that make its parts."""
    part = f"CREATE TABLE {table}_{{}} PARTITION OF {table} FOR VALUES "
    if layout == "hash":
        each = "WITH (MODULUS {}, REMAINDER {})"
        key = "transaction_id" if table == "transactions" else "number"
        return f"HASH ({key})", (
            part.format(number) + each.format(_HASHES, number) for number in range(_HASHES)
        )
    now = datetime.now(UTC)
    year, month = _SAMPLE_MONTH if table == "transactions" else (now.year, now.month)
    last = 12 * year + month - 1
    return f"RANGE ({_CUT_BY[table]})", (
        # One more at either end: times are local, and a run may be at midnight.
        part.format(each) + f"FROM ('{_first(each)}') TO ('{_first(each + 1)}')"
        for each in range(last - _MONTHS, last + 2)
    )


def _first(month: int) -> str:
    """The beginning of a month, which is counted from the year 0 on."""
    return f"{month // 12:04}-{month % 12 + 1:02}-01 00:00:00+00"
