"""What a source has in hand: messages that came and are not handed out, or not acked."""

import time
from collections import Counter
from collections.abc import Collection
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from trial import MakeTopic, nowhere, places, read, values

from assay.domain.chunk import Chunk, Idle, Revoked
from assay.domain.errors import Unavailable
from assay.domain.position import Partition
from assay_adapters.kafka.source import KafkaSource


class Watched:
    """A consumer that tells how many messages it has handed over, and may lose partition 0.

    Attributes:
        had: how many messages of each partition.
        calls: that have brought any.
        losing: by which callback the partition is taken away once messages of it are in hand.
    """

    had: Counter[int | None]
    calls = 0
    losing: str | None = None

    def __init__(self, properties: dict[str, Any]) -> None:
        self._consumer: Any = Consumer(properties)
        self._callbacks: dict[str, Any] = {}
        self._topic = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        (self._topic,) = topics
        self._callbacks = callbacks
        self._consumer.subscribe(topics, **callbacks)

    def lose(self, how: str) -> None:
        self._callbacks[how](self._consumer, [TopicPartition(self._topic, 0)])

    def consume(self, most: int, timeout: float) -> list[Message]:
        messages: list[Message] = self._consumer.consume(most, timeout)
        came = Counter(each.partition() for each in messages if each.error() is None)
        self.had.update(came)
        self.calls += came.total() > 0
        if came[0] and self.losing is not None:
            self.lose(self.losing)
            type(self).losing = None
        return messages


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The consumers of sources that are made from now on."""
    made: list[Any] = []

    def consumer(properties: dict[str, Any]) -> Watched:
        made.append(Watched(properties))
        return made[-1]

    monkeypatch.setattr(Watched, "had", Counter[int | None](), raising=False)
    monkeypatch.setattr(Watched, "losing", None)
    monkeypatch.setattr("assay_adapters.kafka.source.Consumer", consumer)
    return made


def held(source: KafkaSource, messages: int, partitions: int = 1) -> None:
    """Returns once a paused source holds so many messages of each partition."""
    source.pause(on=True)
    events = source.events(nowhere)
    while not all(Watched.had[each] == messages for each in range(partitions)):
        next(events)


def test_messages_of_a_partition_lost_in_the_same_call_are_dropped(
    make_topic: MakeTopic, watched: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The group may take a partition while messages of it are on their way out of one call."""
    assert not watched
    monkeypatch.setattr(Watched, "losing", "on_lost")
    topic = make_topic(2)
    topic.put_into_both(*[b"x"] * 5)
    seen: list[object] = []
    # A call that takes no more than that brings no partition's end with the messages.
    for event in topic.source(chunk_records=3, linger=0.0).events(nowhere):
        seen.append(event)
        if Revoked(frozenset("0")) in seen and any(
            isinstance(each, Chunk) and "1" in each.partitions for each in seen
        ):
            break
    chunks = [each for each in seen if isinstance(each, Chunk)]
    assert {each for chunk in chunks for each in chunk.partitions} == {"1"}
    assert {each for chunk in chunks for each in chunk.records["partition"]} == {"1"}


def test_what_is_in_hand_outlives_a_fault(
    make_topic: MakeTopic, watched: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a callback raises leaves the events after the call's messages are taken, not instead."""
    assert not watched
    monkeypatch.setattr(Watched, "losing", "on_revoke")
    topic = make_topic(2)
    topic.put(*[b"x"] * 5, partition=1)
    topic.put(*[b"x"] * 5, partition=0)

    def drain(_: Collection[Partition]) -> None:
        raise Unavailable("away")

    source = topic.source(tick=1.0)
    chunks: list[Chunk] = []
    with pytest.raises(Unavailable):
        chunks.extend(each for each in source.events(nowhere, drain) if isinstance(each, Chunk))
    for event in source.events(nowhere):
        if isinstance(event, Chunk):
            chunks.append(event)
        if sum(each.records.height for each in chunks) >= 5:
            break
    found = places(chunks)
    assert found == [("1", number) for number in range(5)]


def test_a_rewind_drops_what_is_in_hand(make_topic: MakeTopic, watched: list[Any]) -> None:
    """It is read again, and would be handed out twice."""
    topic = make_topic()
    topic.put(*(b"%d" % number for number in range(5)))
    source = topic.source()
    held(source, 5)
    source.rewind(["0"])
    source.pause(on=False)
    assert values(read(source, None, {})) == [b"%d" % number for number in range(5)]
    assert len(watched) == 1
    assert Watched.had[0] == 10


def test_what_is_in_hand_of_a_lost_partition_is_dropped(
    make_topic: MakeTopic, watched: list[Any]
) -> None:
    """The next owner hands it out."""
    topic = make_topic(2)
    topic.put_into_both(*[b"x"] * 5)
    source = topic.source()
    held(source, 5, partitions=2)
    (consumer,) = watched
    consumer.lose("on_lost")
    source.pause(on=False)
    chunks = read(source, None, {})
    assert {each for chunk in chunks for each in chunk.partitions} == {"1"}
    assert [row for chunk in chunks for row in chunk.records["partition"]] == ["1"] * 5


def test_what_is_under_way_counts_as_lag(make_topic: MakeTopic, watched: list[Any]) -> None:
    """Until it is acked, though the end is reached, and so does what came after the end."""
    topic = make_topic()
    topic.put(*[b"x"] * 3)
    source = topic.source(chunk_records=3)
    events = source.events(nowhere)
    chunk = next(event for event in events if isinstance(event, Chunk))
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        assert next(events) == Idle()
    assert source.lags() == {"0": 3}
    source.ack({each.partition: each.position for each in chunk.ranges})
    assert source.lags() == {"0": 0}
    source.pause(on=True)
    topic.put(*[b"x"] * 5)
    while Watched.had[0] < 6:
        next(events)
    assert source.lags() == {"0": 5}
    assert len(watched) == 1


def test_a_chunk_that_is_not_full_lingers(make_topic: MakeTopic, watched: list[Any]) -> None:
    """It is cut by its size before its time has come."""
    topic = make_topic()
    topic.put(*[b"x"] * 2)
    source = topic.source(chunk_records=3, linger=60)
    held(source, 2)
    source.pause(on=False)
    events = source.events(nowhere)
    assert [next(events) for _ in range(5)] == [Idle()] * 5
    topic.put(b"x")
    chunk = next(event for event in events if isinstance(event, Chunk))
    assert chunk.records.height == Watched.had[0] == 3
    assert len(watched) == 1


def test_large_messages_are_held_no_more_than_a_few(make_topic: MakeTopic) -> None:
    """They come all at once where they are packed well, and larger than what came before them."""
    topic = make_topic()
    packed: dict[str, Any] = {"compression.type": "zstd", "linger.ms": 50}
    topic.put(*[b"x" * 100_000] * 60, **packed)
    chunks = read(topic.source(chunk_bytes=300_000), None, {})
    first, *others = (each.records.height for each in chunks)
    assert first <= 16
    assert max(others) <= 4
    assert first + sum(others) == 60


def test_messages_are_taken_many_at_a_time(make_topic: MakeTopic, watched: list[Any]) -> None:
    """A call for each would take a multiple of the time, and no count of instructions shows it."""
    topic = make_topic()
    topic.put(*[b"x"] * 20_000)
    chunks = read(topic.source(linger=0.5), None, {})
    (consumer,) = watched
    assert len(values(chunks)) == consumer.had[0] == 20_000
    assert consumer.calls < 200
