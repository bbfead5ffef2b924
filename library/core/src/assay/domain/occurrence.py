"""Numbers for equal records of a file, so that two equal purchases stay two."""

from typing import Final

import polars as pl

_COUNTS: Final = pl.Schema({"key": pl.UInt64, "seen": pl.UInt32})


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
