"""A source in its group: it keeps its place, and hands over in order."""

import time
from collections import deque
from collections.abc import Collection
from contextlib import closing

import pytest
from trial import MakeTopic, a_group, enters_nothing, nowhere, values

from assay.domain.chunk import Chunk, Idle, Revoked
from assay.domain.errors import Fatal
from assay.domain.position import Partition, Position
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.source import KafkaSource, Reading


def test_a_long_pause_keeps_the_place_in_the_group(
    make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hands full, beyond the time in which a consumer has to ask; then it goes on."""
    monkeypatch.setattr("assay_adapters.kafka.source._HOLD", 0.1)
    topic = make_topic()
    topic.put(*(b"%d" % number for number in range(9)))
    times = {
        "heartbeat.interval.ms": "200",
        "session.timeout.ms": "1000",
        "max.poll.interval.ms": "1000",
    }
    config = KafkaConfig(bootstrap_servers=topic.servers, properties=times)
    reading = Reading(topic.name, a_group(), chunk_records=3, tick=0.05)
    with closing(KafkaSource(config, reading, enters_nothing)) as source:
        source.pause(on=True)
        events = source.events(nowhere)
        while not source.lags():
            next(events)
        until = time.monotonic() + 2.5
        while time.monotonic() < until:
            assert next(events) == Idle()
            time.sleep(0.01)  # as the pump waits for its workers
        source.pause(on=False)
        chunks: list[Chunk] = []
        while sum(each.records.height for each in chunks) < 9:
            event = next(events)
            assert not isinstance(event, Revoked)
            if isinstance(event, Chunk):
                chunks.append(event)
        assert values(chunks) == [b"%d" % number for number in range(9)]


def test_what_is_handed_over_is_drained_first(make_topic: MakeTopic) -> None:
    """A member that joins gets its share after `drain` has returned; what that raises comes out."""
    topic = make_topic(2)
    topic.put_into_both(*[b"x"] * 5)
    group = a_group()
    first = topic.source(group)
    drained: list[Collection[Partition]] = []
    owned: list[Collection[Partition]] = []

    def drain(partitions: Collection[Partition]) -> None:
        drained.append(partitions)
        owned.append(first.assigned)
        raise Fatal("the limit is passed")

    events = first.events(nowhere, drain)
    while len(first.assigned) < 2:
        next(events)
    second = topic.source(group)
    others = second.events(nowhere)

    def both() -> None:
        while True:
            next(events)
            next(others)

    with pytest.raises(Fatal, match="the limit is passed"):
        both()
    ((given,),) = drained
    assert owned == [{"0", "1"}]
    events = first.events(nowhere)
    assert any(next(events) == Revoked(frozenset({given})) for _ in range(3))
    while given not in second.assigned:
        next(events)
        next(others)


def test_closing_drains_nothing(make_topic: MakeTopic) -> None:
    """Whoever closes has come to an end with what was handed out."""
    topic = make_topic()
    topic.put(b"x")
    source = topic.source()
    drained: list[Collection[Partition]] = []
    events = source.events(nowhere, drained.append)
    while not isinstance(next(events), Chunk):
        pass
    source.close()
    assert drained == []


def test_a_spare_member_knows_how_the_whole_topic_stands(make_topic: MakeTopic) -> None:
    """It is known to the group, and owns nothing; what its owner has not committed is unread."""
    topic = make_topic()
    topic.put(*[b"x"] * 3)
    group, stands = a_group(), {"0": Position(2)}
    first, second = topic.source(group), topic.source(group)
    owner, spare = first.events(nowhere), second.events(lambda _: stands)
    assert not second.is_member
    while not first.assigned:
        next(owner)
    while not second.is_member:
        next(owner)
        next(spare)
    assert not second.assigned

    def told() -> tuple[int, int]:
        while (whole := second.whole()) is None:
            next(owner)
            next(spare)
        return whole

    assert told() == (1, 3)
    assert second.whole() is None  # each answer is given once
    stands["0"] = Position(3)
    told()  # what was asked before
    assert told() == (0, 3)
    topic.put(b"x")
    told()
    assert told() == (1, 4)


def test_a_session_that_brokers_refuse_is_named(make_topic: MakeTopic) -> None:
    """With their settings: it would wait for partitions without end."""
    topic = make_topic()
    times = {"session.timeout.ms": "500", "heartbeat.interval.ms": "100"}
    config = KafkaConfig(bootstrap_servers=topic.servers, properties=times)
    with closing(KafkaSource(config, Reading(topic.name, a_group()), enters_nothing)) as source:
        events = source.events(nowhere)
        with pytest.raises(Fatal, match=r"session\.timeout\.ms .* group\.min\.session"):
            deque((next(events) for _ in range(200)), maxlen=0)
