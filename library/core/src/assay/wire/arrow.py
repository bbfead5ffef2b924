"""Frames as Arrow IPC streams, between Assay's services and the model API.

https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

import io
from typing import Final

import polars as pl

from assay.domain.prediction import VERDICTS
from assay.domain.transaction import TRANSACTIONS
from assay.wire import ipc

CONTENT_TYPE: Final = "application/vnd.apache.arrow.stream"

QUESTIONS: Final = pl.Schema({name: TRANSACTIONS[name] for name in TRANSACTIONS if name != "row"})
"""What is asked: `TRANSACTIONS` without `row`."""

ANSWERS: Final = pl.Schema({"transaction_id": pl.String, **VERDICTS})
"""What is answered: the id that was asked about, null where it had none, and `VERDICTS`."""


def write_transactions(transactions: pl.DataFrame) -> bytes:
    """One stream with the columns of `QUESTIONS`, which the frame must have."""
    return _write(transactions, QUESTIONS)


def read_transactions(body: bytes) -> pl.DataFrame:
    """The frame in a stream of transactions, shaped as `QUESTIONS`.

    Text may come as a dictionary as well; columns may stand in any order, unknown ones are left
    out. The values are not held against the rules.

    Raises:
        ValueError: it is truncated, compressed, no Arrow IPC stream, or has other columns.
    """
    return _read(body, QUESTIONS)


def write_verdicts(answers: pl.DataFrame) -> bytes:
    """One stream with the columns of `ANSWERS`, which the frame must have."""
    return _write(answers, ANSWERS)


def read_verdicts(body: bytes) -> pl.DataFrame:
    """The frame in a stream of verdicts, shaped as `ANSWERS`.

    Raises:
        ValueError: as `read_transactions`.
    """
    return _read(body, ANSWERS)


def _write(frame: pl.DataFrame, schema: pl.Schema) -> bytes:
    stream = io.BytesIO()
    frame.select(
        pl.col(name).cast(dtype) for name, dtype in schema.items()
    ).rechunk().write_ipc_stream(stream, compression="uncompressed")
    return stream.getvalue()


def _read(body: bytes, schema: pl.Schema) -> pl.DataFrame:
    ipc.check(body)
    try:
        frame = pl.read_ipc_stream(io.BytesIO(body))
        return frame.select(_column(frame.schema, name, dtype) for name, dtype in schema.items())
    # A panic of polars derives from BaseException; it leaves nothing behind that could be wrong.
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise ValueError(f"not a readable Arrow IPC stream ({type(error).__name__})") from None


def _column(found: pl.Schema, name: str, dtype: pl.DataType) -> pl.Expr:
    """A column as the schema wants it; text may be in a dictionary, and a dictionary text."""
    if name not in found:
        raise ValueError(f"column {name} is missing")
    texts = (pl.String, pl.Categorical, pl.Enum)
    if found[name] != dtype and not (isinstance(found[name], texts) and isinstance(dtype, texts)):
        raise ValueError(f"column {name} must be {dtype}, not {found[name]}")
    return pl.col(name).cast(dtype)
