"""What came of a topic's partitions and is not acked yet, and the chunks that are cut from it."""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import polars as pl
from confluent_kafka import Message

from assay.domain.chunk import RECORDS, Chunk, with_heads
from assay.domain.position import Range


@dataclass
class Owned:
    """A partition that belongs to this consumer.

    Attributes:
        next: where the next range begins; None until the store has said so, and where it says that
            the partition is over.
        seen: where what has come ends, holes included.
        acked: up to where it is committed.
        end: where the partition ended when it was placed.
        is_at_end: whether nothing that can be read came since its end was reached.
        numbering: the topic's id.
        is_over: whether nothing is to be read of it any more.
        stop: where the next range ends, whatever it holds; None where any end will do.
    """

    next: int | None = None
    seen: int = 0
    acked: int = 0
    end: int = 0
    is_at_end: bool = False
    numbering: str | None = None
    is_over: bool = False
    stop: int | None = None

    @property
    def is_placed(self) -> bool:
        """Whether it is read."""
        return self.next is not None

    @property
    def is_under_way(self) -> bool:
        """Whether something of it was handed out and not acked yet."""
        return self.next is not None and self.next > self.acked

    @property
    def has_holes(self) -> bool:
        """Whether more has come of it than was handed out."""
        return self.next is not None and self.seen > self.next

    @property
    def is_whole(self) -> bool:
        """Whether all has come that the range holds whose end is given."""
        return self.stop is not None and self.seen >= self.stop


@dataclass
class Held:
    """The records that the next chunk is cut from.

    Columns of plain values: fifty thousand messages of confluent-kafka would be looked through by
    Python's garbage collector again and again, and a frame for each call costs more than the call.

    Attributes:
        partitions, offsets, keys, values: of the records, as they came.
        size: bytes of their values and keys.
        since: when the first of them came.
    """

    partitions: list[int | None] = field(default_factory=list[int | None])
    offsets: list[int | None] = field(default_factory=list[int | None])
    keys: list[bytes | None] = field(default_factory=list[bytes | None])
    values: list[bytes | None] = field(default_factory=list[bytes | None])
    size: int = 0
    since: float = 0.0

    @property
    def records(self) -> int:
        """How many there are."""
        return len(self.values)

    def add(self, messages: Sequence[Message]) -> None:
        """Holds these, too."""
        if not messages:
            return
        if not self.values:
            self.since = time.monotonic()
        values = [each.value() for each in messages]
        keys = [each.key() for each in messages]
        self.partitions += [each.partition() for each in messages]
        self.offsets += [each.offset() for each in messages]
        self.values += values
        self.keys += keys
        self.size += _size(values, keys)

    def without(self, numbers: Collection[int]) -> "Held":
        """What is left once those of these partitions are dropped."""
        rows = zip(self.partitions, self.offsets, self.keys, self.values, strict=True)
        kept = [row for row in rows if row[0] not in numbers]
        if not kept:
            return Held()
        partitions, offsets, keys, values = map(list, zip(*kept, strict=True))
        return Held(partitions, offsets, keys, values, _size(values, keys), self.since)

    def frame(self, limit: int) -> pl.DataFrame:
        """The records shaped as `RECORDS`; of one with more bytes than this the head."""
        frame = pl.DataFrame(
            {
                "partition": pl.Series(self.partitions, dtype=pl.Int32),
                "position": pl.Series(self.offsets, dtype=pl.Int64),
                "key": pl.Series(self.keys, dtype=pl.Binary),
                "raw": pl.Series(self.values, dtype=pl.Binary),
            }
        ).with_columns(
            pl.col("partition").cast(pl.String),
            length=pl.col("raw").bin.size().fill_null(0).cast(pl.Int64),
            sha256=pl.lit(None, pl.Binary),
            occurrence=pl.lit(None, pl.UInt32),
            fault=pl.lit(None, pl.String),
        )
        shaped = frame.select(pl.col(name).cast(dtype) for name, dtype in RECORDS.items())
        return with_heads(shaped, limit)


def cut(records: pl.DataFrame, partitions: Mapping[int, Owned]) -> Chunk:
    """A chunk of these records, and of the holes behind them.

    The next range of each partition begins where the chunk's ends.
    """
    found = records.group_by("partition").agg(pl.len(), pl.col("position").max())
    of = {partition: (read, last + 1) for partition, read, last in found.iter_rows()}
    ranges: list[Range] = []
    for number, owned in sorted(partitions.items()):
        partition = str(number)
        read, end = of.get(partition, (0, 0))
        end = max(end, owned.seen)
        if owned.next is not None and end > owned.next:
            ranges.append(Range(partition, owned.next, end, read, None, owned.numbering))
            owned.next = owned.seen = end
    return Chunk(tuple(ranges), records)


def _size(values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> int:
    return sum(map(len, filter(None, chain(values, keys))))
