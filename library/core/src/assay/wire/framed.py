"""Values of messages that a schema registry knows the schema of.

Such a value begins with a byte 0, which no JSON does, and the number of its schema in four bytes,
the highest first; what follows is Avro or Protobuf. That is Confluent's wire format:
https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import polars as pl

FRAMED: Final = b"\0"
"""What such a value begins with."""

MESSAGES: Final = {
    "no_schema_registry": "the value is written for a schema registry: set"
    " ASSAY_SCHEMA_REGISTRY__URL",
    "unknown_schema": "the schema registry has no schema of the value's number that can be read",
    "schema_mismatch": "the value does not fit its schema",
}
"""What is wrong with values of which there is no JSON, by the code of their reject."""

Unframe: TypeAlias = Callable[[Sequence[bytes]], Sequence[bytes | str]]
"""The JSON of such values, in their order; of one that has none the code of its reject.

Raises:
    Unavailable: the registry is away.
    Fatal: it does not help to try again.
"""


Frame: TypeAlias = Callable[[Sequence[Any]], Sequence[Any]]
"""Such values of JSON objects, in their order; what is none stays as it is.

Raises:
    Unavailable: the registry is away.
    Fatal: it has no schema for them.
"""


def as_json(values: Sequence[Any]) -> Sequence[Any]:
    """A `Frame` that leaves JSON as it is."""
    return values


def no_registry(values: Sequence[bytes]) -> list[bytes | str]:
    """An `Unframe` that knows no schema."""
    return ["no_schema_registry"] * len(values)


def unframed(records: pl.DataFrame, unframe: Unframe) -> pl.DataFrame:
    """Records with JSON in place of such values, or a fault where there is none.

    Args:
        records: shaped as `assay.domain.chunk.RECORDS`; those that have a fault stay as they are.
        unframe: finds the JSON.
    """
    is_framed = records["raw"].bin.starts_with(FRAMED) & records["fault"].is_null()
    rows = is_framed.arg_true().to_list()
    if not rows:
        return records
    raw, fault = records["raw"].to_list(), records["fault"].to_list()
    for row, found in zip(rows, unframe([raw[each] for each in rows]), strict=True):
        raw[row], fault[row] = (found, None) if isinstance(found, bytes) else (None, found)
    return records.with_columns(
        pl.Series("raw", raw, pl.Binary), pl.Series("fault", fault, pl.String)
    )
