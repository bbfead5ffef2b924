"""JSON bodies: strict reading, without loss of a digit, and frames as lists of objects.

https://www.rfc-editor.org/rfc/rfc8259
"""

import json
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Final

import polars as pl

from assay.domain.transaction import TRANSACTIONS

_MAGNITUDE: Final = 1_000
"""Powers of ten, either way, beyond which a number is refused: written out it would fill memory."""


class Ambiguous(dict[str, object]):
    """An object in which a name stands twice; it holds the last value of each."""


def loads(body: bytes, *, nan_as_null: bool = False, mark_ambiguous: bool = False) -> object:
    """Reads one JSON document.

    Numbers with a fraction or an exponent come back as `Decimal`, others as `int`. Of names that
    stand twice in an object the last one counts. Lone surrogates are kept.

    Args:
        body: UTF-8, without a byte order mark.
        nan_as_null: whether `NaN` and the infinities, which are no JSON but which some servers
            write, are read as None.
        mark_ambiguous: whether objects with a name that stands twice come back as `Ambiguous`.

    Raises:
        ValueError: it is no JSON, is nested hundreds of levels deep, or holds a number of more
            than 4,300 digits or 1,000 powers of ten. The message says where and holds no content.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"not JSON: invalid UTF-8 at byte {error.start}") from None
    try:
        return _decoder(nan_as_null, mark_ambiguous).decode(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ValueError("not JSON that can be read: nested too deeply") from None


@cache  # a new one for each body takes as long as reading a short body
def _decoder(nan_as_null: bool, mark_ambiguous: bool) -> json.JSONDecoder:  # noqa: FBT001 - the cache's key
    return json.JSONDecoder(
        parse_float=_decimal,
        parse_int=_integer,
        parse_constant=_none if nan_as_null else _no_constant,
        object_pairs_hook=_object if mark_ambiguous else None,
    )


def _object(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Ambiguous(found)


def transaction_objects(transactions: pl.DataFrame) -> pl.Series:
    """The JSON object of each row, in order; amounts are strings, so that no digit is lost.

    Args:
        transactions: with the columns of `TRANSACTIONS` but `row`, which is left out; each as text
            or of its type.

    Returns:
        Strings.
    """
    columns = [name for name in TRANSACTIONS if name != "row"]
    text = transactions.select(columns).with_columns(pl.col("amount").cast(pl.String))
    if text.schema["timestamp"] != pl.String:
        text = text.with_columns(pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S.%6fZ"))
    return text.select(object=pl.struct(columns))["object"].struct.json_encode()


def write_transactions(transactions: pl.DataFrame) -> bytes:
    """A list of the objects of `transaction_objects`."""
    return write_objects(transaction_objects(transactions))


def write_objects(objects: pl.Series) -> bytes:
    """A list of objects, in order.

    Args:
        objects: structs, or text that is JSON already.
    """
    if objects.dtype != pl.String:
        objects = objects.struct.json_encode()
    return b"[" + ",".join(objects).encode() + b"]"


def _decimal(text: str) -> Decimal:
    _, _, exponent = text.lower().partition("e")
    # The exponent is looked at first: decimal arithmetic raises errors of its own beyond its range.
    if len(exponent.lstrip("+-0")) > len(str(_MAGNITUDE)) or abs(int(exponent or 0)) > _MAGNITUDE:
        raise ValueError(f"a number has more than {_MAGNITUDE} powers of ten")
    return Decimal(text)


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a number has more than 4300 digits") from None


def _none(name: str) -> None:
    del name


def _no_constant(name: str) -> None:
    raise ValueError(f"not JSON: {name} is no number")
