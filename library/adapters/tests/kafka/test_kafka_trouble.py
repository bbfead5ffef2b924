"""What may become of a topic while it is read."""

import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from assay.domain.chunk import Chunk, Revoked
from assay.domain.errors import Fatal, Renumbered, Unavailable
from assay.domain.position import Partition, Position, Positions
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.source import KafkaSource, Reading
from assay_adapters.kafka.topics import Copies, Topics
from assay_local import Local


@pytest.fixture
def kafka(kafka_servers: str) -> KafkaConfig:
    return KafkaConfig(bootstrap_servers=kafka_servers, properties={"heartbeat.interval.ms": "200"})


@pytest.fixture
def make_source(kafka: KafkaConfig) -> Iterator[Callable[..., KafkaSource]]:
    with ExitStack() as stack:

        def make(topic: str, group: str = "", **reading: Any) -> KafkaSource:
            name = group or f"group-{secrets.token_hex(4)}"
            usual: dict[str, Any] = {"linger": 0.01, "tick": 0.05}
            source = KafkaSource(kafka, Reading(topic, name, **(usual | reading)))
            stack.callback(source.close)
            return source

        yield make


@pytest.fixture
def admin(kafka_servers: str) -> Any:
    return AdminClient({"bootstrap.servers": kafka_servers})


def made(admin: Any, partitions: int = 1, **config: str) -> str:
    """A topic that is there."""
    name = f"test-{secrets.token_hex(8)}"
    wanted = NewTopic(
        name, partitions, config={key.replace("_", "."): each for key, each in config.items()}
    )
    admin.create_topics([wanted])[name].result(30)
    return name


def put(servers: str, topic: str, *values: bytes, partition: int = 0, **config: Any) -> None:
    producer = Producer({"bootstrap.servers": servers, **config})
    for each in values:
        producer.produce(topic, each, partition=partition)
    assert producer.flush(30) == 0


def nowhere(_: Sequence[Partition]) -> Positions:
    return {}


def read(
    source: KafkaSource,
    until: Callable[[], bool] | None,
    stands: dict[Partition, Position],
) -> list[Chunk]:
    """Commits and acks every chunk, until a condition holds; unless one is given, all there is."""
    chunks: list[Chunk] = []
    deadline = time.monotonic() + 30

    def positions(_: Sequence[Partition]) -> Positions:
        return stands

    for event in source.events(positions):
        if isinstance(event, Chunk):
            chunks.append(event)
            stands |= {each.partition: each.position for each in event.ranges}
            source.ack({each.partition: each.position for each in event.ranges})
        if until() if until is not None else is_read(source):
            return chunks
        assert time.monotonic() < deadline
    raise AssertionError


def values(chunks: Sequence[Chunk]) -> list[bytes | None]:
    return [each for chunk in chunks for each in chunk.records["raw"]]


def is_read(source: KafkaSource) -> bool:
    lags = source.lags()
    return len(lags) == len(source.assigned) > 0 and not any(lags.values())


def test_markers_and_aborted_messages_are_no_gaps(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Ranges reach over them, `read` counts what was committed only, and the lag reaches 0."""
    topic = made(admin)
    producer = Producer({"bootstrap.servers": kafka_servers, "transactional.id": topic})
    producer.init_transactions(30)
    for number, is_kept in enumerate([True, False, True, False]):
        producer.begin_transaction()
        for each in range(3):
            producer.produce(topic, f"{number}-{each}", partition=0)
        producer.flush(30)
        (producer.commit_transaction if is_kept else producer.abort_transaction)(30)
    source = make_source(topic)
    stands: dict[Partition, Position] = {}
    chunks = read(source, None, stands)
    assert values(chunks) == [f"{number}-{each}".encode() for number in (0, 2) for each in range(3)]
    assert stands["0"].next >= 16  # a marker that had to be sent again is there twice
    ranges = [each for chunk in chunks for each in chunk.ranges]
    assert [each.first for each in ranges] == [0, *(each.next for each in ranges[:-1])]


@pytest.mark.chaos  # the broker compacts when it likes
def test_compacted_offsets_are_no_gaps(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """What compaction has taken is passed over, and the lag reaches 0."""
    topic = made(
        admin,
        cleanup_policy="compact",
        segment_bytes=str(1 << 20),
        segment_ms="100",
        min_cleanable_dirty_ratio="0.01",
        max_compaction_lag_ms="100",
    )
    producer = Producer({"bootstrap.servers": kafka_servers})
    deadline = time.monotonic() + 60
    sent = 0
    while True:
        for _ in range(50):
            producer.produce(topic, b"value", key=b"same", partition=0)
            sent += 1
        assert producer.flush(30) == 0
        source = make_source(topic)
        stands: dict[Partition, Position] = {}
        chunks = read(source, None, stands)
        assert stands["0"].next == sent
        if len(values(chunks)) < sent:
            break
        assert time.monotonic() < deadline
    assert sum(each.read for chunk in chunks for each in chunk.ranges) == len(values(chunks))


def test_records_deleted_before_they_were_read_stop_it(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Whether at its start or while it reads: it says how many, and nothing is passed over."""
    topic = made(admin)
    put(kafka_servers, topic, *[b"x"] * 10)
    admin.delete_records([TopicPartition(topic, 0, 7)])[TopicPartition(topic, 0, 7)].result(30)
    source = make_source(topic)
    with pytest.raises(Fatal, match=r"4 offsets .* were deleted before they were read"):
        read(source, lambda: False, {"0": Position(3)})


def test_records_deleted_under_a_reader_stop_it(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """What retention takes from somebody who is slow is told as well."""
    topic = made(admin)
    put(kafka_servers, topic, *[b"x" * 1_000] * 3_000)
    source = make_source(topic, chunk_records=10, queue_bytes=1 << 10)
    stands: dict[Partition, Position] = {}
    read(source, lambda: bool(stands), stands)
    at = TopicPartition(topic, 0, 2_990)
    admin.delete_records([at])[at].result(30)
    with pytest.raises(Fatal, match="were deleted before they were read"):
        read(source, lambda: stands["0"].next >= 2_990, stands)


@pytest.mark.parametrize("records", [2, 20], ids=["fewer", "more"])
def test_a_topic_that_was_made_anew_stops_it(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str, records: int
) -> None:
    """Whether its offsets are lower or higher than those in the books."""
    topic = made(admin)
    put(kafka_servers, topic, *[b"x"] * 10)
    source = make_source(topic)
    stands: dict[Partition, Position] = {}
    read(source, None, stands)
    assert stands["0"].next == 10
    source.close()
    admin.delete_topics([topic])[topic].result(30)
    while topic in admin.list_topics(timeout=10).topics:
        pass
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    put(kafka_servers, topic, *[b"y"] * records)
    with pytest.raises(Renumbered, match="was made anew"):
        read(make_source(topic), lambda: False, stands)


def test_a_topic_made_anew_under_a_reader_stops_it(
    make_source: Callable[..., KafkaSource],
    admin: Any,
    kafka_servers: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is noticed while it is read, not only at the next start."""
    monkeypatch.setattr("assay_adapters.kafka.source._LOOK", 0.2)
    topic = made(admin)
    put(kafka_servers, topic, *[b"x"] * 10)
    source = make_source(topic)
    stands: dict[Partition, Position] = {}
    read(source, None, stands)
    admin.delete_topics([topic])[topic].result(30)
    while topic in admin.list_topics(timeout=10).topics:
        pass
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    put(kafka_servers, topic, *[b"y"] * 20)
    with pytest.raises(Renumbered, match="was made anew"):
        read(source, lambda: False, stands)


class Losing:
    """A consumer that loses partition 0 once it has messages of it in hand."""

    def __init__(self, properties: dict[str, Any]) -> None:
        self._consumer: Any = Consumer(properties)
        self._on_lost: Callable[[Any, list[TopicPartition]], None] | None = None
        self._topic = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        (self._topic,) = topics
        self._on_lost = callbacks["on_lost"]
        self._consumer.subscribe(topics, **callbacks)

    def consume(self, most: int, timeout: float) -> list[Message]:
        messages: list[Message] = self._consumer.consume(most, timeout)
        found = any(each.partition() == 0 and each.error() is None for each in messages)
        if found and self._on_lost is not None:
            self._on_lost(self._consumer, [TopicPartition(self._topic, 0)])
            self._on_lost = None
        return messages


def test_messages_of_a_partition_lost_in_the_same_call_are_dropped(
    make_source: Callable[..., KafkaSource],
    admin: Any,
    kafka_servers: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The group may take a partition while messages of it are on their way out of one call."""
    monkeypatch.setattr("assay_adapters.kafka.source.Consumer", Losing)
    topic = made(admin, partitions=2)
    for partition in range(2):
        put(kafka_servers, topic, *[b"x"] * 5, partition=partition)
    seen: list[object] = []
    for event in make_source(topic, linger=0.0).events(nowhere):
        seen.append(event)
        if Revoked(frozenset("0")) in seen and any(
            isinstance(each, Chunk) and "1" in each.partitions for each in seen
        ):
            break
    assert not any(isinstance(each, Chunk) and "0" in each.partitions for each in seen)


def test_what_is_handed_over_is_drained_first(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """A member that joins gets its share after `drain` has returned; what that raises comes out."""
    topic = made(admin, partitions=2)
    for partition in range(2):
        put(kafka_servers, topic, *[b"x"] * 5, partition=partition)
    group = f"group-{secrets.token_hex(4)}"
    first = make_source(topic, group)
    drained: list[Collection[Partition]] = []
    owned: list[Collection[Partition]] = []

    def drain(partitions: Collection[Partition]) -> None:
        drained.append(partitions)
        owned.append(first.assigned)
        raise Fatal("the limit is passed")

    events = first.events(nowhere, drain)
    while len(first.assigned) < 2:
        next(events)
    second = make_source(topic, group)
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


@pytest.mark.chaos  # each broker in turn
def test_topics_are_told_while_any_broker_is_away(kafka_cluster: Local) -> None:
    """Whether or not it was the controller that died, the others are asked."""
    servers = kafka_cluster.kafka.url
    name = made(AdminClient({"bootstrap.servers": servers}), partitions=3)
    topics = Topics(KafkaConfig(bootstrap_servers=servers))
    for broker in kafka_cluster.brokers:
        known = topics.named(name)
        broker.kill()
        try:
            deadline = time.monotonic() + 20
            while True:
                assert time.monotonic() < deadline
                with suppress(Unavailable):
                    if len(topics.bounds(topics.named(name))) == len(known.partitions):
                        break
        finally:
            broker.start()


@pytest.mark.chaos  # a cluster
def test_copies_that_a_lost_broker_had_are_missed(kafka_cluster: Local) -> None:
    """A topic that is kept once has partitions without a leader; one that is kept thrice lacks."""
    servers = kafka_cluster.kafka.url
    topics = Topics(KafkaConfig(bootstrap_servers=servers))
    once, thrice = f"once-{secrets.token_hex(4)}", f"thrice-{secrets.token_hex(4)}"
    topics.make(once, partitions=3, replication=1)
    topics.make(thrice, partitions=3, replication=3, config={"min.insync.replicas": "3"})
    well = [Copies(once, 3, (), (), ()), Copies(thrice, 3, (), (), ())]

    def until(found: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not found():
            assert time.monotonic() < deadline

    until(lambda: topics.copies([once, thrice, "misspelt"]) == well)
    kafka_cluster.brokers[0].kill()
    try:
        every = (0, 1, 2)
        until(lambda: topics.copies([thrice]) == [Copies(thrice, 3, (), every, every)])
        until(lambda: len(topics.copies([once])[0].leaderless) == 1)
    finally:
        kafka_cluster.brokers[0].start()
