"""Where reading continues: partitions, positions, and the ranges between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Partition: TypeAlias = str
"""The name of an ordered part of a source: `transactions/0`, or a file in one version of it."""

End: TypeAlias = Literal["finished", "abandoned"]
"""How a partition ended: read to its end, or replaced by another version while it was read."""


class Position(NamedTuple):
    """Where reading of one partition continues.

    Attributes:
        next: the first position that is not committed yet.
        end: set once the partition has ended; nothing is read from it any more.
    """

    next: int
    end: End | None = None


Positions: TypeAlias = Mapping[Partition, Position]
"""Partitions that are absent have never been committed; their source decides where they begin."""


@dataclass(frozen=True, order=True)
class Range:
    """A stretch of one partition, half open: `first` inclusive, `next` exclusive.

    `first` is the previous range's `next`, not the position of the first record, since a
    partition may have holes (markers, compaction).

    Attributes:
        read: the number of records in it, at most `next - first`.
        end: set on the last range of a partition, which alone may be empty (`first == next`).

    Raises:
        ValueError: the numbers contradict each other.
    """

    partition: Partition
    first: int
    next: int
    read: int
    end: End | None = None

    def __post_init__(self) -> None:
        is_range = 0 <= self.first <= self.next and 0 <= self.read <= self.next - self.first
        if not is_range or (self.first == self.next and self.end is None):
            raise ValueError(f"no range: {self.first} to {self.next} with {self.read} records")

    @property
    def position(self) -> Position:
        """Where reading continues once this range is committed."""
        return Position(self.next, self.end)
