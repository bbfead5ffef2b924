"""Frames into tables by `COPY`."""

from typing import Final, cast

import polars as pl
import polars.selectors as cs
import psycopg
from psycopg import sql
from sqlalchemy import Connection, Table

_SLICE: Final = 5_000
_SLICE_BYTES: Final = 8 << 20


def copy_into(connection: Connection, table: Table, frame: pl.DataFrame) -> None:
    """Appends a frame's rows to a table, columns by their names, in the connection's transaction.

    Text must hold no NUL.

    Raises:
        psycopg.Error: as PostgreSQL says; nothing was appended then.
    """
    if frame.is_empty():
        return
    hexadecimal = (pl.lit("\\x") + cs.binary().bin.encode("hex")).name.keep()
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    )
    driver = cast("psycopg.Connection", connection.connection.driver_connection)
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            # PostgreSQL reads one slice while the next one is written. In CSV only an empty field
            # without quotes is null, and that is how polars writes it.
            for rows in frame.iter_slices(_fitting(frame)):
                copy.write(rows.with_columns(hexadecimal).write_csv(include_header=False))
    except psycopg.OperationalError as error:
        if not driver.closed:
            raise
        # Nothing can be ended there any more; to try would be told instead of why.
        connection.invalidate()
        raise _first(error) from None


def _first(error: psycopg.Error) -> psycopg.Error:
    """The error that this one came of."""
    while isinstance(error.__context__, psycopg.Error):
        error = error.__context__
    return error


def _fitting(frame: pl.DataFrame) -> int:
    """The rows of a slice. Bytes are counted, since equal ones take no memory until written."""
    sizes = frame.select(cs.binary().bin.size().cast(pl.Int64).sum())
    size = max(sum(sizes.row(0)), 1) if sizes.width else 1
    return max(1, min(_SLICE, _SLICE_BYTES * frame.height // size))
