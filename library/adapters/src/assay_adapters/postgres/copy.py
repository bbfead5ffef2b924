"""Frames into tables by binary `COPY`: https://www.postgresql.org/docs/18/sql-copy.html."""

from collections.abc import Iterator
from typing import Any, Final, cast

import arro3.core as arrow
import polars as pl
import polars.selectors as cs
import psycopg
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql
from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    DateTime,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Text,
)

_FIRST: Final = 3_000
_SLICE: Final = 25_000
_SLICE_BYTES: Final = 8 << 20
_TYPES: Final = {
    BigInteger: pl.Int64(),
    Boolean: pl.Boolean(),
    DateTime: pl.Datetime("us", "UTC"),
    LargeBinary: pl.Binary(),
    SmallInteger: pl.Int16(),
    Text: pl.String(),
}


def copy_into(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Appends a frame's rows to a table, columns by their names, in the connection's transaction.

    Text must hold no NUL.

    Raises:
        psycopg.Error: as PostgreSQL says; nothing was appended then.
        polars.exceptions.PolarsError: a value does not fit its column's type.
    """
    if frame.is_empty():
        return
    columns = [table.columns[name] for name in frame.columns]
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    )
    driver = cast("psycopg.Connection", connection.connection.driver_connection)
    typed = frame.select(pl.col(each.name).cast(_dtype(each.type)) for each in columns)
    encoder: Any = None  # its batches have no type
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for rows in _slices(typed):
                for batch in batches(rows):
                    if encoder is None:
                        encoder = ArrowToPostgresBinaryEncoder(batch.schema)
                        copy.write(encoder.write_header())
                    copy.write(encoder.write_batch(batch))
            if encoder is not None:
                copy.write(encoder.finish())
    except psycopg.OperationalError as error:
        if not driver.closed:
            raise
        # Nothing can be ended there any more; to try would be told instead of why.
        connection.invalidate()
        raise _first(error) from None


def _dtype(column: Any) -> pl.DataType:
    """What a frame must hold for the binary form to be that of the column's type."""
    if isinstance(column, Numeric):
        return pl.Decimal(column.precision, column.scale or 0)
    return next(dtype for kind, dtype in _TYPES.items() if isinstance(column, kind))


def batches(rows: pl.DataFrame) -> list[arrow.RecordBatch]:
    """The rows as the encoder takes them."""
    table = arrow.Table.from_arrow(rows)
    # Of the two forms that Arrow has for bytes the encoder knows the older one.
    for place, (name, dtype) in enumerate(rows.schema.items()):
        if dtype == pl.Binary:
            older = table.column(name).cast(arrow.DataType.large_binary())
            table = table.set_column(place, name, older)
    return table.to_batches()


def _first(error: psycopg.Error) -> psycopg.Error:
    """The error that this one came of."""
    while isinstance(error.__context__, psycopg.Error):
        error = error.__context__
    return error


def _slices(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows in slices: PostgreSQL reads one, the first soon, while the next is written."""
    most = _fitting(frame)
    first = min(most, _FIRST)
    yield frame[:first]
    yield from frame[first:].iter_slices(most)


def _fitting(frame: pl.DataFrame) -> int:
    """The rows of a slice, at most.

    Bytes are counted, since equal ones take no memory until written.
    """
    sizes = frame.select(cs.binary().bin.size().cast(pl.Int64).sum())
    size = max(sum(sizes.row(0)), 1) if sizes.width else 1
    return max(1, min(_SLICE, _SLICE_BYTES * frame.height // size))
