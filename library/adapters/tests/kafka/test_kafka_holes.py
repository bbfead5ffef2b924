"""Offsets that hold no record are passed over: nothing is missed, and no lag remains."""

import time

import pytest
from confluent_kafka import Producer
from trial import MakeTopic, is_read, read, values

from assay.domain.position import Partition, Position


def test_markers_and_aborted_messages_are_no_gaps(make_topic: MakeTopic) -> None:
    """Ranges reach over them, `read` counts what was committed only, and the lag reaches 0."""
    topic = make_topic()
    producer = topic.transactional()
    for number, is_kept in enumerate([True, False, True, False]):
        producer.begin_transaction()
        for each in range(3):
            producer.produce(topic.name, f"{number}-{each}", partition=0)
        producer.flush(30)
        (producer.commit_transaction if is_kept else producer.abort_transaction)(30)
    source = topic.source()
    stands: dict[Partition, Position] = {}
    chunks = read(source, None, stands)
    assert values(chunks) == [f"{number}-{each}".encode() for number in (0, 2) for each in range(3)]
    assert stands["0"].next >= 16  # a marker that had to be sent again is there twice
    ranges = [each for chunk in chunks for each in chunk.ranges]
    assert [each.first for each in ranges] == [0, *(each.next for each in ranges[:-1])]


def test_an_open_transaction_is_no_lag(make_topic: MakeTopic) -> None:
    """What it holds back cannot be read yet; the end before it is told once, with the messages."""
    topic = make_topic()
    topic.put(b"1", b"2")
    producer = topic.transactional()
    producer.begin_transaction()
    producer.produce(topic.name, b"3", partition=0)
    assert producer.flush(30) == 0
    topic.put(b"4")
    source = topic.source(tick=0.5)
    stands: dict[Partition, Position] = {}
    assert values(read(source, None, stands)) == [b"1", b"2"]
    producer.commit_transaction(30)
    rest = read(source, lambda: stands["0"].next >= 5 and is_read(source), stands)
    assert values(rest) == [b"3", b"4"]


@pytest.mark.chaos  # the broker compacts when it likes
def test_compacted_offsets_are_no_gaps(make_topic: MakeTopic) -> None:
    """What compaction has taken is passed over, and the lag reaches 0."""
    topic = make_topic(
        cleanup_policy="compact",
        segment_bytes=str(1 << 20),
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="100",
    )
    producer = Producer({"bootstrap.servers": topic.servers})
    deadline = time.monotonic() + 60
    sent = 0
    while True:
        for _ in range(50):
            producer.produce(topic.name, b"value", key=b"same", partition=0)
            sent += 1
        assert producer.flush(30) == 0
        source = topic.source()
        stands: dict[Partition, Position] = {}
        chunks = read(source, None, stands)
        assert stands["0"].next == sent
        if len(values(chunks)) < sent:
            break
        assert time.monotonic() < deadline
    assert sum(each.read for chunk in chunks for each in chunk.ranges) == len(values(chunks))
