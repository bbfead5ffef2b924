"""Numbers for equal records of a file, so that two equal purchases stay two."""

from typing import Final

import polars as pl

from assay.domain.dialect import Dialect

_COUNTS: Final = pl.Schema({"key": pl.UInt64, "seen": pl.UInt32})


def occurrence_keys(raw: pl.Series, dialect: Dialect) -> pl.Series:
    """A key for each record that is the same wherever the record's cells are the same.

    The reverse need not hold: records with one key are merely numbered apart. So the key leaves
    out what may be written in several ways: quotes, and all that is not ASCII.

    Returns:
        UInt64, one a record.
    """
    try:
        text = raw.cast(pl.String)
    except pl.exceptions.ComputeError:  # one record that is no UTF-8 fails the column
        text = pl.Series([each.decode("ascii", "ignore") for each in raw], dtype=pl.String)
    if (text.str.len_bytes() != text.str.len_chars()).any():
        text = text.str.replace_all(r"[^\x00-\x7f]", "")
    if dialect.quote is not None and text.str.contains(dialect.quote, literal=True).any():
        text = text.str.replace_all(dialect.quote, "", literal=True)
    return text.hash()


class Occurrences:
    """Counts equal keys of one file in order.

    Takes 12 bytes per distinct key: the counts are kept in sorted levels, each at least twice as
    large as the next, and each key in the sum of those levels that hold it.
    """

    def __init__(self) -> None:
        self._levels: list[pl.DataFrame] = []

    def number(self, keys: pl.Series) -> pl.Series:
        """How many equal keys came before each of these, in the order given, as UInt32."""
        frame = keys.to_frame("key")
        counts = frame.group_by("key").agg(pl.len().cast(pl.UInt32).alias("seen")).sort("key")
        before = counts.select("key", seen=self._seen(counts["key"]))
        numbers = frame.with_columns(
            pl.int_range(pl.len(), dtype=pl.UInt32).over("key").alias("number")
        )
        if before["seen"].sum():
            numbers = numbers.join(before, on="key", how="left", maintain_order="left")
            numbers = numbers.with_columns(pl.col("number") + pl.col("seen"))
        self._keep(counts)
        return numbers["number"]

    def _seen(self, keys: pl.Series) -> pl.Series:
        total = pl.repeat(0, keys.len(), dtype=pl.UInt32, eager=True)
        for level in self._levels:
            at = level["key"].search_sorted(keys).clip(upper_bound=level.height - 1)
            found = level[at]
            total += found["seen"] * (found["key"] == keys).cast(pl.UInt32)
        return total

    def _keep(self, counts: pl.DataFrame) -> None:
        while self._levels and self._levels[-1].height < 2 * counts.height:
            both = pl.concat([self._levels.pop(), counts])
            counts = both.group_by("key").agg(pl.col("seen").sum()).sort("key")
        if counts.height:
            self._levels.append(counts.cast(_COUNTS))
