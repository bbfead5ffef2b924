"""Where reading begins is what the store says, and what Kafka is told of it."""

from collections import deque
from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, TopicPartition
from trial import MakeTopic, a_group, is_read, places, read, values

from assay.domain.chunk import Chunk
from assay.domain.errors import Fatal, Unavailable
from assay.domain.position import Partition, Position, Positions
from assay_adapters.kafka.source import Begin
from assay_adapters.kafka.topics import Topic, Topics


def test_kafkas_own_offsets_are_not_asked(make_topic: MakeTopic) -> None:
    """Whether they are ahead of the store or behind it."""
    topic, group = make_topic(2), a_group()
    topic.put_into_both(*(b"%d" % each for each in range(6)))
    other = Consumer({"bootstrap.servers": topic.servers, "group.id": group})
    theirs = [TopicPartition(topic.name, 0, 5), TopicPartition(topic.name, 1, 1)]
    other.commit(offsets=theirs, asynchronous=False)
    other.close()
    chunks = read(topic.source(group), None, {"0": Position(2), "1": Position(4)})
    found = places(chunks)
    assert sorted(found) == [*(("0", each) for each in (2, 3, 4, 5)), ("1", 4), ("1", 5)]


def test_a_lower_position_is_no_news(make_topic: MakeTopic) -> None:
    """Neither the lag grows by an ack, nor do Kafka's offsets go back, or follow a stranger's."""
    topic, group = make_topic(2), a_group()
    topic.put(*[b"x"] * 5)
    source = topic.source(group)
    read(source, None, {})
    source.ack({"0": Position(2)})
    assert is_read(source)
    source.close()
    source.ack({"1": Position(1)})
    asked = [TopicPartition(topic.name, each) for each in range(2)]
    other = Consumer({"bootstrap.servers": topic.servers, "group.id": group})
    try:
        found = other.committed(asked, timeout=10)
    finally:
        other.close()
    assert [each.offset for each in found] == [5, OFFSET_INVALID]


def entering(stands: dict[Partition, Position]) -> Begin:
    """Enters beginnings as the store does: whoever is first decides."""

    def begin(begins: Positions) -> None:
        stands.update({name: at for name, at in begins.items() if name not in stands})

    return begin


def test_a_topic_whose_head_is_gone_begins_where_it_begins(make_topic: MakeTopic) -> None:
    """What was deleted before the first look was nobody's to read, and is in no range."""
    topic = make_topic()
    topic.put(*[b"x"] * 10)
    topic.cut(7)
    chunks = read(topic.source(begin=entering(stands := {})), None, stands)
    assert [(each.first, each.read) for chunk in chunks for each in chunk.ranges] == [(7, 3)]


def test_a_late_beginning_is_of_all_partitions_and_in_the_store_at_once(
    make_topic: MakeTopic,
) -> None:
    """Before anything is read: a crash then would else move it, and others begin elsewhere."""
    topic = make_topic(2)
    topic.put(*[b"old"] * 5)
    stands: dict[Partition, Position] = {}
    source = topic.source(begin=entering(stands), start="latest")
    assert read(source, None, stands) == []
    assert {name: at.next for name, at in stands.items()} == {"0": 5, "1": 0}
    assert all(at.numbering is not None for at in stands.values())
    topic.put(b"new")
    assert values(read(source, lambda: stands["0"].next > 5, stands)) == [b"new"]


def test_a_partition_that_is_new_begins_at_its_beginning(make_topic: MakeTopic) -> None:
    """Late is where a topic begins that was never read, not a partition of one that was."""
    topic = make_topic(2)
    topic.put_into_both(*[b"x"] * 5)
    stands: dict[Partition, Position] = {"0": Position(5)}
    chunks = read(topic.source(begin=entering(stands), start="latest"), None, stands)
    ranges = [each for chunk in chunks for each in chunk.ranges]
    assert [(each.partition, each.first, each.next, each.read) for each in ranges] == [
        ("1", 0, 5, 5)
    ]


def test_what_came_to_an_empty_topic_while_nobody_read_is_read(make_topic: MakeTopic) -> None:
    """Reading began late, before the first record; who comes again does not begin late again."""
    topic = make_topic()
    stands: dict[Partition, Position] = {}
    first = topic.source(begin=entering(stands), start="latest")
    read(first, None, stands)
    first.close()
    topic.put(b"x")
    assert values(read(topic.source(begin=entering(stands), start="latest"), None, stands)) == [
        b"x"
    ]


def test_two_consumers_begin_late_together(make_topic: MakeTopic) -> None:
    """Who asks the store second does not read from the beginning since the first has committed."""
    topic, group = make_topic(2), a_group()
    topic.put_into_both(*[b"old"] * 5)
    stands: dict[Partition, Position] = {}
    both = [topic.source(group, entering(stands), start="latest") for _ in range(2)]

    def away(_: Sequence[Partition]) -> Positions:
        raise Unavailable("away")

    asking = [each.events(away) for each in both]
    while not all(len(each.assigned) == 1 for each in both):
        for each in asking:
            next(each)
    chunks = [chunk for each in both for chunk in read(each, None, stands)]
    assert values(chunks) == []


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_where_it_begins_is_in_the_store_before_anything_is_read(
    make_topic: MakeTopic, start: str
) -> None:
    """Of all partitions at once: what is deleted before the first commit is known to be lost."""
    topic = make_topic(2)
    topic.put_into_both(*[b"x"] * 5)
    topic.cut(3)
    stands: dict[Partition, Position] = {}
    first = topic.source(begin=entering(stands), start=start)
    events = first.events(lambda _: stands)
    while not stands:
        assert not isinstance(next(events), Chunk)
    first.close()
    begins = {"earliest": {"0": 3, "1": 0}, "latest": {"0": 5, "1": 5}}[start]
    assert {name: at.next for name, at in stands.items()} == begins
    topic.put(*[b"x"] * 5, partition=1)
    topic.cut(9, partition=1)
    with pytest.raises(Fatal, match=f"{9 - begins['1']} offsets .* were deleted before they were"):
        read(topic.source(begin=entering(stands), start=start), lambda: False, stands)


def test_what_is_deleted_under_a_reader_before_its_first_commit_stops_it(
    make_topic: MakeTopic,
) -> None:
    """It has been placed, and has read nothing of that partition."""
    topic = make_topic()
    topic.put(*[b"x" * 1_000] * 3_000)
    stands: dict[Partition, Position] = {}
    source = topic.source(begin=entering(stands), chunk_records=10, queue_bytes=1 << 10)
    events = source.events(lambda _: stands)
    while not isinstance(next(events), Chunk):  # which nobody commits
        pass
    topic.cut(2_990)
    with pytest.raises(Fatal, match=r"2,990 offsets .* were deleted before they were read"):
        deque(events, maxlen=0)


def test_a_topic_made_anew_before_the_first_commit_stops_its_reader(
    make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the old one had is not read, and the new one is not taken for it."""
    monkeypatch.setattr("assay_adapters.kafka.source._LOOK", 0.2)
    topic = make_topic()
    stands: dict[Partition, Position] = {}
    source = topic.source(begin=entering(stands))
    read(source, lambda: source.lags() == {"0": 0}, stands)
    topic.make_anew()
    # The question that was under way meanwhile may have met no topic at all.
    with pytest.raises(Fatal, match=r"was made anew|there is no topic"):
        read(source, lambda: False, stands)


def test_a_new_partition_that_has_lost_records_stops_its_reader(make_topic: MakeTopic) -> None:
    """It is read from its beginning, and that is 0 where the topic was read before."""
    topic = make_topic(2)
    topic.put_into_both(*[b"x"] * 5)
    topic.cut(2, partition=1)
    with pytest.raises(Fatal, match=r"2 offsets of .*/1 were deleted before they were read"):
        read(topic.source(), lambda: False, {"0": Position(5)})


def test_a_partition_without_a_leader_holds_up_no_beginning(
    make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an early one; the others are entered, and it is read from its beginning later."""
    topic = make_topic(2)
    topic.put_into_both(*[b"x"] * 3)
    bounds: Callable[..., dict[int, tuple[int, int]]] = Topics.bounds
    has_leader: list[bool] = []

    def led(topics: Topics, name: Topic, *, whole: bool) -> dict[int, tuple[int, int]]:
        found = bounds(topics, name, whole=whole)
        return found if has_leader else {0: found[0]}

    monkeypatch.setattr(Topics, "bounds", led)
    entered: list[Positions] = []
    stands: dict[Partition, Position] = {}

    def begin(begins: Positions) -> None:
        entered.append(begins)
        entering(stands)(begins)

    source = topic.source(begin=begin)
    chunks = read(source, lambda: "0" in stands and stands["0"].next == 3, stands)
    has_leader.append(True)
    chunks += read(source, None, stands)
    assert sorted(places(chunks)) == [(name, at) for name in "01" for at in range(3)]
    assert [list(each) for each in entered] == [["0"]]
