"""A source of partitions in memory, which may be revoked and assigned like a topic's."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import polars as pl

from assay.domain.chunk import RECORDS, Chunk, Idle, Revoked
from assay.domain.errors import Unavailable
from assay.domain.position import End, Partition, Position, Positions, Range
from assay.memory.faults import Faults
from assay.ports.source import AskPositions, Drain, no_drain


@dataclass
class MemorySource:
    """Hands out the records of logs: a log is a list whose index is the position, None a hole.

    Attributes:
        logs: the partitions, whoever owns them.
        owned: the partitions that this source hands out; see `assign` and `revoke`.
        size: records of one partition in a chunk, at most, or who says so before each.
        finite: whether a log's end is a partition's end (a file), and the events end with the last
            (else they go on for ever, idle).
        faults: at `events`.
    """

    logs: dict[Partition, list[bytes | None]]
    owned: set[Partition] = field(default_factory=set[Partition])
    size: int | Callable[[], int] = 3
    finite: bool = True
    faults: Faults = field(default_factory=Faults)
    acked: dict[Partition, Position] = field(default_factory=dict[Partition, Position])
    _next: dict[Partition, Position] = field(default_factory=dict[Partition, Position])
    _handed: dict[Partition, Position] = field(default_factory=dict[Partition, Position])
    _asked_back: set[Partition] = field(default_factory=set[Partition])
    _revoked: set[Partition] = field(default_factory=set[Partition])
    _paused: bool = False

    def assign(self, partitions: Collection[Partition]) -> None:
        """These are owned from now on, read from where the store stands."""
        self.owned.update(partitions)
        self._asked_back.difference_update(partitions)

    def ask_back(self, partitions: Collection[Partition]) -> None:
        """These are given up at the next event, after what was handed out of them is drained."""
        self._asked_back.update(self.owned.intersection(partitions))

    def revoke(self, partitions: Collection[Partition]) -> None:
        """These are no longer owned."""
        self.owned.difference_update(partitions)
        self._revoked.update(partitions)
        self._forget(partitions)

    def events(
        self, positions: AskPositions, drain: Drain = no_drain
    ) -> Iterator[Chunk | Revoked | Idle]:
        """What happens, one event at a time."""
        while True:
            self.faults.at("events")
            if self._asked_back:
                given, self._asked_back = self._asked_back & self.owned, set()
                try:
                    drain(given)
                finally:
                    self.revoke(given)
            if self._revoked:
                gone, self._revoked = frozenset(self._revoked), set()
                yield Revoked(gone)
                continue
            if not self._paused and (unknown := sorted(self.owned - self._next.keys())):
                self._ask(positions, unknown)
            chunk = None if self._paused else self._chunk()
            if chunk is None and self.finite and self._is_done():
                return
            yield chunk or Idle()

    def pause(self, on: bool) -> None:  # noqa: FBT001 - as the port has it
        """Hands out no chunk while on."""
        self._paused = on

    def rewind(self, partitions: Collection[Partition]) -> None:
        """Starts these again from where the store stands."""
        self._forget(self.owned.intersection(partitions))

    def ack(self, positions: Positions) -> None:
        """These are committed."""
        # Whoever acks may not have been told yet of what has been taken away.
        if not (self.owned | self._revoked).issuperset(positions):
            raise AssertionError("acked a partition that belongs to another owner")
        for partition, position in positions.items():
            if partition not in self.owned:
                continue
            self.acked[partition] = max(position, self.acked.get(partition, position), key=_next)

    def _forget(self, partitions: Collection[Partition]) -> None:
        for each in partitions:
            self._next.pop(each, None)
            self._handed.pop(each, None)

    def _ask(self, positions: AskPositions, partitions: Sequence[Partition]) -> None:
        try:
            found = positions(partitions)
        except Unavailable:
            return
        for each in partitions:
            stands = found.get(each, Position(0))
            self._next[each] = Position(stands.next) if stands.end == "abandoned" else stands

    def _is_done(self) -> bool:
        def is_acked(partition: Partition) -> bool:
            handed = self._handed.get(partition)
            return handed is None or self.acked.get(partition) == handed

        return all(
            each in self._next and self._next[each].end and is_acked(each) for each in self.owned
        )

    def _chunk(self) -> Chunk | None:
        ranges: list[Range] = []
        rows: list[dict[str, object]] = []
        size = self.size() if callable(self.size) else self.size
        for partition in sorted(self.owned & self._next.keys()):
            at, log = self._next[partition], self.logs[partition]
            stop = min(at.next + size, len(log))
            end: End | None = "finished" if self.finite and stop == len(log) else None
            if at.end or (stop == at.next and end is None):
                continue
            found = [(position, log[position]) for position in range(at.next, stop)]
            kept = [(position, raw) for position, raw in found if raw is not None]
            ranges.append(Range(partition, at.next, stop, len(kept), end))
            rows.extend(
                {"partition": partition, "position": position, "raw": raw, "length": len(raw)}
                for position, raw in kept
            )
            self._next[partition] = self._handed[partition] = Position(stop, end)
        return Chunk(tuple(ranges), pl.DataFrame(rows, schema=RECORDS)) if ranges else None


def _next(position: Position) -> int:
    return position.next
