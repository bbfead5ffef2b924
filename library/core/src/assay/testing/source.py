"""What every source guarantees, as tests: a subclass says how to make one of given records."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

import pytest

from assay.domain.chunk import Chunk, Idle, Revoked
from assay.domain.errors import RejectLimitExceeded, Unavailable
from assay.domain.position import Partition, Position, Positions
from assay.ports.source import AskPositions, Source


class MakeSource(Protocol):
    """Makes a source."""

    def __call__(self, logs: Mapping[str, Sequence[bytes]]) -> tuple[Source, dict[str, Partition]]:
        """A source that owns partitions with these records, and the partitions' names.

        A record is one word; chunks hold few of them.
        """
        ...


class SourceSuite:
    """The port suite of `assay.ports.source.Source`. Override `make_source`."""

    @pytest.fixture
    def make_source(self) -> MakeSource:
        """Makes sources of given records."""
        raise NotImplementedError

    patience = 20
    """Events with nothing in them, in a row, after which nothing more is expected."""

    def is_drained(self, source: Source) -> bool:  # noqa: ARG002 - who knows overrides it
        """Whether it is known, before patience ends, that nothing more is to come."""
        return False

    def place(self, number: int) -> int:
        """The position of the record of this number in its log, unless a source counts so."""
        return number

    def _expected(self, words: Sequence[bytes]) -> list[tuple[int, bytes]]:
        return [(self.place(number), word) for number, word in enumerate(words)]

    def _drain(self, source: Source, positions: AskPositions) -> list[Chunk]:
        """All chunks, each acked at once, until there are no more or nothing comes any more."""
        chunks: list[Chunk] = []
        idle = 0
        for event in source.events(positions):
            idle = idle + 1 if isinstance(event, Idle) else 0
            if isinstance(event, Chunk):
                chunks.append(event)
                source.ack({each.partition: each.position for each in event.ranges})
            if idle > self.patience or self.is_drained(source):
                break
        return chunks

    def test_hands_out_every_record_in_order(self, make_source: MakeSource) -> None:
        """Ranges follow each other without gap, and count the records that they hold."""
        logs = {"a": _words("a", 10), "b": _words("b", 7)}
        source, names = make_source(logs)
        chunks = self._drain(source, _nowhere)
        for name, partition in names.items():
            assert _records(chunks, partition) == self._expected(logs[name])
            assert _is_contiguous(chunks, partition)

    def test_begins_where_the_store_stands(self, make_source: MakeSource) -> None:
        """What is committed is not handed out again, and a finished partition not at all."""
        source, names = make_source({"a": _words("a", 5), "b": _words("b", 5)})
        stand = {
            names["a"]: Position(self.place(3)),
            names["b"]: Position(self.place(5), "finished"),
        }
        chunks = self._drain(source, lambda _: stand)
        assert _records(chunks, names["a"]) == self._expected(_words("a", 5))[3:]
        assert not _records(chunks, names["b"])

    def test_is_idle_while_paused(self, make_source: MakeSource) -> None:
        """Nothing is handed out, and the loop goes on."""
        source, names = make_source({"a": _words("a", 5)})
        events = source.events(_nowhere)
        source.pause(on=True)
        assert all(isinstance(next(events), Idle) for _ in range(10))
        source.pause(on=False)
        chunks = self._drain(source, _nowhere)
        assert _records(chunks, names["a"]) == self._expected(_words("a", 5))

    def test_waits_for_positions(self, make_source: MakeSource) -> None:
        """Where the store is away it is asked again, and nothing is handed out before."""
        source, names = make_source({"a": _words("a", 5)})
        asked: list[Sequence[Partition]] = []

        def away(partitions: Sequence[Partition]) -> Positions:
            asked.append(partitions)
            if len(asked) < 4:
                raise Unavailable("away")
            return {}

        assert _records(self._drain(source, away), names["a"]) == self._expected(_words("a", 5))
        assert len(asked) >= 4
        assert all(each == [names["a"]] for each in asked)

    def test_does_not_end_before_all_is_acked(self, make_source: MakeSource) -> None:
        """What was handed out may yet have to be handed out again."""
        source, names = make_source({"a": _words("a", 2)})
        events = source.events(_nowhere)
        happened = [next(events) for _ in range(self.patience)]
        chunks = [event for event in happened if isinstance(event, Chunk)]
        assert _records(chunks, names["a"]) == self._expected(_words("a", 2))
        for chunk in chunks:
            source.ack({each.partition: each.position for each in chunk.ranges})
        assert not [event for event, _ in zip(events, range(20), strict=False) if _is_chunk(event)]

    def test_a_rewind_begins_again_where_the_store_stands(self, make_source: MakeSource) -> None:
        """Partitions that are not rewound go on as if nothing had happened."""
        source, names = make_source({"a": _words("a", 9), "b": _words("b", 9)})
        stand: dict[Partition, Position] = {}
        events = source.events(lambda _: stand)
        chunks = _until_all_begun(events, names.values())
        stand[names["a"]] = Position(self.place(1))
        source.rewind([names["a"]])
        again = self._drain(source, lambda _: stand)
        assert _records(again, names["a"]) == self._expected(_words("a", 9))[1:]
        assert _records(chunks + again, names["b"]) == self._expected(_words("b", 9))

    def test_goes_on_with_what_was_abandoned(self, make_source: MakeSource) -> None:
        """It is back, or it would not be there to be read."""
        source, names = make_source({"a": _words("a", 5)})
        chunks = self._drain(source, lambda _: {names["a"]: Position(self.place(3), "abandoned")})
        assert _records(chunks, names["a"]) == self._expected(_words("a", 5))[3:]

    def test_a_rewind_to_an_end_ends_it(self, make_source: MakeSource) -> None:
        """A partition that was given up is not handed out any more."""
        source, names = make_source({"a": _words("a", 9)})
        stand: dict[Partition, Position] = {}
        events = source.events(lambda _: stand)
        while not isinstance(next(events), Chunk):
            pass
        stand[names["a"]] = Position(0, "finished")
        source.rewind([names["a"]])
        assert not self._drain(source, lambda _: stand)

    def test_a_rewind_of_a_strangers_partition_does_nothing(self, make_source: MakeSource) -> None:
        """It belongs to another owner."""
        source, names = make_source({"a": _words("a", 3)})
        source.rewind(["somebody else's"])
        chunks = self._drain(source, _nowhere)
        assert _records(chunks, names["a"]) == self._expected(_words("a", 3))


class SharedSourceSuite(SourceSuite):
    """The same for sources that may be asked to give partitions up.

    Override `ask_back` and `owned` too.
    """

    def ask_back(self, source: Source) -> None:
        """Has others ask for some of its partitions, one at least and not all."""
        raise NotImplementedError

    def owned(self, source: Source) -> Collection[Partition]:
        """What it owns just now."""
        raise NotImplementedError

    def test_drains_what_it_gives_up_while_it_still_owns_it(self, make_source: MakeSource) -> None:
        """What is committed in there is acked, may be rewound, and comes as revoked after that."""
        logs = {"a": _words("a", 9), "b": _words("b", 9)}
        source, names = make_source(logs)
        stand: dict[Partition, Position] = {}
        handed: dict[Partition, Position] = {}
        drained: list[Partition] = []

        def drain(partitions: Collection[Partition]) -> None:
            drained.extend(partitions)
            assert set(self.owned(source)) == set(names.values())
            committed = {each: handed[each] for each in partitions}
            stand.update(committed)
            source.ack(committed)
            source.rewind(partitions)
            source.ack(committed)

        events = source.events(lambda _: stand, drain)
        chunks = _until_all_begun(events, names.values())
        for chunk in chunks:
            handed |= {each.partition: each.position for each in chunk.ranges}
        self.ask_back(source)
        revoked: frozenset[Partition] = frozenset()
        while not revoked:
            match next(events):
                case Revoked(partitions):
                    revoked = partitions
                case Chunk() as chunk:
                    chunks.append(chunk)
                    handed |= {each.partition: each.position for each in chunk.ranges}
                case _:
                    pass
        assert set(drained) == revoked
        assert len(drained) == len(revoked)
        assert set(self.owned(source)) == set(names.values()) - revoked
        stand |= {each: at for each, at in handed.items() if each not in revoked}
        source.ack({each: stand[each] for each in self.owned(source)})
        rest = self._drain(source, lambda _: stand)
        assert not [each for chunk in rest for each in chunk.ranges if each.partition in revoked]
        for name, partition in names.items():
            if partition in revoked:
                assert stand[partition] == handed[partition]
            else:
                assert _records([*chunks, *rest], partition) == self._expected(logs[name])

    def test_what_a_drain_raises_ends_the_events(self, make_source: MakeSource) -> None:
        """As the error that it is; the partitions are given up all the same."""
        source, names = make_source({"a": _words("a", 9), "b": _words("b", 9)})
        drained: list[Partition] = []

        def drain(partitions: Collection[Partition]) -> None:
            drained.extend(partitions)
            raise RejectLimitExceeded("too many")

        events = source.events(_nowhere, drain)
        _until_all_begun(events, names.values())
        self.ask_back(source)
        with pytest.raises(RejectLimitExceeded, match="too many"):
            deque(events, maxlen=0)
        again = source.events(_nowhere, drain)
        happened = (next(again) for _ in range(self.patience))
        (revoked,) = (each.partitions for each in happened if isinstance(each, Revoked))
        assert set(drained) == revoked
        assert set(self.owned(source)) == set(names.values()) - revoked


def _until_all_begun(
    events: Iterator[Chunk | Revoked | Idle], partitions: Collection[Partition]
) -> list[Chunk]:
    """The first chunks, until something of each partition is among them; none is acked."""
    chunks: list[Chunk] = []
    while {each.partition for chunk in chunks for each in chunk.ranges} != set(partitions):
        event = next(events)
        if isinstance(event, Chunk):
            chunks.append(event)
    return chunks


def _nowhere(_: Sequence[Partition]) -> Positions:
    return {}


def _words(name: str, count: int) -> list[bytes]:
    return [f"{name}{number}".encode() for number in range(count)]


def _is_chunk(event: object) -> bool:
    return isinstance(event, Chunk)


def _records(chunks: Sequence[Chunk], partition: Partition) -> list[tuple[int, bytes]]:
    return [
        (position, raw)
        for chunk in chunks
        for of, position, raw in chunk.records.select("partition", "position", "raw").iter_rows()
        if of == partition
    ]


def _is_contiguous(chunks: Sequence[Chunk], partition: Partition) -> bool:
    ranges = [each for chunk in chunks for each in chunk.ranges if each.partition == partition]
    firsts = [each.first for each in ranges]
    return firsts == [0, *(each.next for each in ranges[:-1])]
