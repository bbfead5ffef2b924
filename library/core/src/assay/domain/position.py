"""Where reading continues: partitions, positions, and the ranges between them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias

TOPICS: Final = "kafka/"
"""What the source of a topic begins with; its name follows."""

Partition: TypeAlias = str
"""The name of an ordered part of a source: `transactions/0`, or a file in one version of it."""

End: TypeAlias = Literal["finished", "abandoned"]
"""How a partition ended: read to its end, or replaced by another version while it was read.

What is finished is never read again; what was abandoned goes on where it stands if it is back.
"""


class Position(NamedTuple):
    """Where reading of one partition continues.

    Attributes:
        next: the first position that is not committed yet.
        end: set once the partition has ended.
        numbering: what positions count in it, where that may change under the same name: how a
            file is cut into records, which topic has the name. None where it cannot.
        stop: where the range that begins there must end, since somebody has begun to deliver it;
            None where it may end anywhere.
    """

    next: int
    end: End | None = None
    numbering: str | None = None
    stop: int | None = None


Positions: TypeAlias = Mapping[Partition, Position]
"""Partitions that are absent have never been committed; their source decides where they begin."""


@dataclass(frozen=True, order=True)
class Range:
    """A stretch of one partition, half open: `first` inclusive, `next` exclusive.

    `first` is the previous range's `next`, not the position of the first record, since a
    partition may have holes (markers, compaction).

    Attributes:
        read: the number of records in it, at most `next - first`.
        end: set on the last range of a partition, which may be empty (`first == next`) where it is
            finished.
        numbering: see `Position`; a range goes on only from a position of the same one.

    Raises:
        ValueError: the numbers contradict each other.
    """

    partition: Partition
    first: int
    next: int
    read: int
    end: End | None = None
    numbering: str | None = None

    def __post_init__(self) -> None:
        is_range = 0 <= self.first <= self.next and 0 <= self.read <= self.next - self.first
        if not is_range or (self.first == self.next and self.end != "finished"):
            raise ValueError(f"no range: {self.first} to {self.next} with {self.read} records")

    @property
    def position(self) -> Position:
        """Where reading continues once this range is committed."""
        return Position(self.next, self.end, self.numbering)

    def follows(self, position: Position) -> bool:
        """Whether its partition may be moved by it from there."""
        return (
            position.next == self.first
            and position.end != "finished"
            and position.numbering in {None, self.numbering}
            and position.stop in {None, self.next}
        )
