"""What may become of a topic while it is read."""

import secrets
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from hashlib import sha256
from typing import Any

import pytest
from confluent_kafka import OFFSET_INVALID, Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from assay.domain.chunk import Chunk, Idle, Revoked
from assay.domain.errors import Fatal, Renumbered, Unavailable
from assay.domain.position import Partition, Position, Positions
from assay.domain.reject import RAW_LIMIT
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.source import Begin, KafkaSource, Reading
from assay_adapters.kafka.topics import Copies, Topic, Topics
from assay_local import Local


@pytest.fixture
def kafka(kafka_servers: str) -> KafkaConfig:
    return KafkaConfig(bootstrap_servers=kafka_servers, properties={"heartbeat.interval.ms": "200"})


@pytest.fixture
def make_source(kafka: KafkaConfig) -> Iterator[Callable[..., KafkaSource]]:
    with ExitStack() as stack:

        def make(
            topic: str, group: str = "", begin_late: Begin | None = None, **reading: Any
        ) -> KafkaSource:
            name = group or f"group-{secrets.token_hex(4)}"
            usual: dict[str, Any] = {"linger": 0.01, "tick": 0.05}
            asked = Reading(topic, name, **(usual | reading))
            source = KafkaSource(kafka, asked, begin_late=begin_late)
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


def test_an_open_transaction_is_no_lag(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """What it holds back cannot be read yet; the end before it is told once, with the messages."""
    topic = made(admin)
    put(kafka_servers, topic, b"1", b"2")
    producer = Producer({"bootstrap.servers": kafka_servers, "transactional.id": topic})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, b"3", partition=0)
    assert producer.flush(30) == 0
    put(kafka_servers, topic, b"4")
    source = make_source(topic, tick=0.5)
    stands: dict[Partition, Position] = {}
    assert values(read(source, None, stands)) == [b"1", b"2"]
    producer.commit_transaction(30)
    rest = read(source, lambda: stands["0"].next >= 5 and is_read(source), stands)
    assert values(rest) == [b"3", b"4"]


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
    happened: list[object] = []
    with pytest.raises(Fatal, match="were deleted before they were read"):
        happened.extend(source.events(lambda _: stands))
    assert Revoked(frozenset("0")) in happened  # what is under way of it is void


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


def test_nothing_of_another_topic_is_handed_out(
    make_source: Callable[..., KafkaSource],
    admin: Any,
    kafka_servers: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What came before the topic was known to be the same waits; it is void where it is not."""
    monkeypatch.setattr("assay_adapters.kafka.source._LOOK", 1_000)
    named: Callable[[Topics, str], Topic] = Topics.named
    answers: list[Topic] = []

    def told(topics: Topics, name: str) -> Topic:
        if not answers:
            return named(topics, name)
        time.sleep(0.2)  # longer than a tick
        return answers.pop()

    monkeypatch.setattr(Topics, "named", told)
    topic = made(admin)
    source = make_source(topic)
    stands: dict[Partition, Position] = {}
    put(kafka_servers, topic, b"old")
    read(source, None, stands)
    put(kafka_servers, topic, b"new")
    answers.append(Topic(topic, "another", (0,)))
    came: list[object] = []
    for event in source.events(lambda _: stands):
        came += [] if isinstance(event, Idle) else [event]
        if isinstance(event, Chunk):
            break
    assert [type(each) for each in came] == [Revoked, Chunk]
    assert values([each for each in came if isinstance(each, Chunk)]) == [b"new"]


class Watched:
    """A consumer that tells how many messages it has handed over, and may lose partition 0.

    Attributes:
        had: how many messages of each partition.
        losing: by which callback the partition is taken away once messages of it are in hand.
    """

    had: Counter[int | None]
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


def test_messages_of_a_partition_lost_in_the_same_call_are_dropped(
    make_source: Callable[..., KafkaSource],
    admin: Any,
    kafka_servers: str,
    watched: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The group may take a partition while messages of it are on their way out of one call."""
    assert not watched
    monkeypatch.setattr(Watched, "losing", "on_lost")
    topic = made(admin, partitions=2)
    for partition in range(2):
        put(kafka_servers, topic, *[b"x"] * 5, partition=partition)
    seen: list[object] = []
    # A call that takes no more than that brings no partition's end with the messages.
    for event in make_source(topic, chunk_records=3, linger=0.0).events(nowhere):
        seen.append(event)
        if Revoked(frozenset("0")) in seen and any(
            isinstance(each, Chunk) and "1" in each.partitions for each in seen
        ):
            break
    chunks = [each for each in seen if isinstance(each, Chunk)]
    assert {each for chunk in chunks for each in chunk.partitions} == {"1"}
    assert {each for chunk in chunks for each in chunk.records["partition"]} == {"1"}


def test_what_is_in_hand_outlives_a_fault(
    make_source: Callable[..., KafkaSource],
    admin: Any,
    kafka_servers: str,
    watched: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a callback raises leaves the events after the call's messages are taken, not instead."""
    assert not watched
    monkeypatch.setattr(Watched, "losing", "on_revoke")
    topic = made(admin, partitions=2)
    put(kafka_servers, topic, *[b"x"] * 5, partition=1)
    put(kafka_servers, topic, *[b"x"] * 5, partition=0)

    def drain(_: Collection[Partition]) -> None:
        raise Unavailable("away")

    source = make_source(topic, tick=1.0)
    chunks: list[Chunk] = []
    with pytest.raises(Unavailable):
        chunks.extend(each for each in source.events(nowhere, drain) if isinstance(each, Chunk))
    for event in source.events(nowhere):
        if isinstance(event, Chunk):
            chunks.append(event)
        if sum(each.records.height for each in chunks) >= 5:
            break
    found = [row for each in chunks for row in each.records.select("partition", "position").rows()]
    assert found == [("1", number) for number in range(5)]


def held(source: KafkaSource, messages: int, partitions: int = 1) -> None:
    """Returns once a paused source holds so many messages of each partition."""
    source.pause(on=True)
    events = source.events(nowhere)
    while not all(Watched.had[each] == messages for each in range(partitions)):
        next(events)


def test_a_rewind_drops_what_is_in_hand(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str, watched: list[Any]
) -> None:
    """It is read again, and would be handed out twice."""
    topic = made(admin)
    put(kafka_servers, topic, *(b"%d" % number for number in range(5)))
    source = make_source(topic)
    held(source, 5)
    source.rewind(["0"])
    source.pause(on=False)
    assert values(read(source, None, {})) == [b"%d" % number for number in range(5)]
    assert len(watched) == 1
    assert Watched.had[0] == 10


def test_what_is_in_hand_of_a_lost_partition_is_dropped(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str, watched: list[Any]
) -> None:
    """The next owner hands it out."""
    topic = made(admin, partitions=2)
    for partition in range(2):
        put(kafka_servers, topic, *[b"x"] * 5, partition=partition)
    source = make_source(topic)
    held(source, 5, partitions=2)
    (consumer,) = watched
    consumer.lose("on_lost")
    source.pause(on=False)
    chunks = read(source, None, {})
    assert {each for chunk in chunks for each in chunk.partitions} == {"1"}
    assert [row for chunk in chunks for row in chunk.records["partition"]] == ["1"] * 5


def test_a_long_pause_keeps_the_place_in_the_group(
    kafka_servers: str, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hands full, beyond the time in which a consumer has to ask; then it goes on."""
    monkeypatch.setattr("assay_adapters.kafka.source._HOLD", 0.1)
    topic = made(admin)
    put(kafka_servers, topic, *(b"%d" % number for number in range(9)))
    times = {
        "heartbeat.interval.ms": "200",
        "session.timeout.ms": "1000",
        "max.poll.interval.ms": "1000",
    }
    config = KafkaConfig(bootstrap_servers=kafka_servers, properties=times)
    reading = Reading(topic, f"group-{secrets.token_hex(4)}", chunk_records=3, tick=0.05)
    with closing(KafkaSource(config, reading)) as source:
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


def test_kafkas_own_offsets_are_not_asked(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Whether they are ahead of the store or behind it."""
    topic, group = made(admin, partitions=2), f"group-{secrets.token_hex(4)}"
    for partition in range(2):
        put(kafka_servers, topic, *(b"%d" % each for each in range(6)), partition=partition)
    other = Consumer({"bootstrap.servers": kafka_servers, "group.id": group})
    theirs = [TopicPartition(topic, 0, 5), TopicPartition(topic, 1, 1)]
    other.commit(offsets=theirs, asynchronous=False)
    other.close()
    chunks = read(make_source(topic, group), None, {"0": Position(2), "1": Position(4)})
    found = [row for each in chunks for row in each.records.select("partition", "position").rows()]
    assert sorted(found) == [*(("0", each) for each in (2, 3, 4, 5)), ("1", 4), ("1", 5)]


def test_a_position_after_the_end_stops_it(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Also where nothing else tells that the topic is another one."""
    topic = made(admin)
    put(kafka_servers, topic, *[b"x"] * 10)
    with pytest.raises(Renumbered, match=r"ends at 10, and the books stand at 11"):
        read(make_source(topic), lambda: False, {"0": Position(11)})
    assert read(make_source(topic), None, {"0": Position(10)}) == []


def test_a_topic_whose_head_is_gone_begins_where_it_begins(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """What was deleted before the first look was nobody's to read, and is in no range."""
    topic = made(admin)
    put(kafka_servers, topic, *[b"x"] * 10)
    at = TopicPartition(topic, 0, 7)
    admin.delete_records([at])[at].result(30)
    chunks = read(make_source(topic), None, {})
    assert [(each.first, each.read) for chunk in chunks for each in chunk.ranges] == [(7, 3)]


def late(stands: dict[Partition, Position]) -> Begin:
    """Enters beginnings as the store does: whoever is first decides."""

    def begin(begins: Positions) -> None:
        stands.update({name: at for name, at in begins.items() if name not in stands})

    return begin


def test_a_late_beginning_is_of_all_partitions_and_in_the_store_at_once(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Before anything is read: a crash then would else move it, and others begin elsewhere."""
    topic = made(admin, partitions=2)
    put(kafka_servers, topic, *[b"old"] * 5)
    stands: dict[Partition, Position] = {}
    source = make_source(topic, begin_late=late(stands))
    assert read(source, None, stands) == []
    assert {name: at.next for name, at in stands.items()} == {"0": 5, "1": 0}
    assert all(at.numbering is not None for at in stands.values())
    put(kafka_servers, topic, b"new")
    assert values(read(source, lambda: stands["0"].next > 5, stands)) == [b"new"]


def test_a_partition_that_is_new_begins_at_its_beginning(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Late is where a topic begins that was never read, not a partition of one that was."""
    topic = made(admin, partitions=2)
    for partition in range(2):
        put(kafka_servers, topic, *[b"x"] * 5, partition=partition)
    stands: dict[Partition, Position] = {"0": Position(5)}
    chunks = read(make_source(topic, begin_late=late(stands)), None, stands)
    ranges = [each for chunk in chunks for each in chunk.ranges]
    assert [(each.partition, each.first, each.next, each.read) for each in ranges] == [
        ("1", 0, 5, 5)
    ]


def test_what_came_to_an_empty_topic_while_nobody_read_is_read(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Reading began late, before the first record; who comes again does not begin late again."""
    topic = made(admin)
    stands: dict[Partition, Position] = {}
    first = make_source(topic, begin_late=late(stands))
    read(first, None, stands)
    first.close()
    put(kafka_servers, topic, b"x")
    assert values(read(make_source(topic, begin_late=late(stands)), None, stands)) == [b"x"]


def test_two_consumers_begin_late_together(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Who asks the store second does not read from the beginning since the first has committed."""
    topic, group = made(admin, partitions=2), f"group-{secrets.token_hex(4)}"
    for partition in range(2):
        put(kafka_servers, topic, *[b"old"] * 5, partition=partition)
    stands: dict[Partition, Position] = {}
    both = [make_source(topic, group, late(stands)) for _ in range(2)]

    def away(_: Sequence[Partition]) -> Positions:
        raise Unavailable("away")

    asking = [each.events(away) for each in both]
    while not all(len(each.assigned) == 1 for each in both):
        for each in asking:
            next(each)
    chunks = [chunk for each in both for chunk in read(each, None, stands)]
    assert values(chunks) == []


def test_what_is_under_way_counts_as_lag(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str, watched: list[Any]
) -> None:
    """Until it is acked, though the end is reached, and so does what came after the end."""
    topic = made(admin)
    put(kafka_servers, topic, *[b"x"] * 3)
    source = make_source(topic, chunk_records=3)
    events = source.events(nowhere)
    chunk = next(event for event in events if isinstance(event, Chunk))
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        assert next(events) == Idle()
    assert source.lags() == {"0": 3}
    source.ack({each.partition: each.position for each in chunk.ranges})
    assert source.lags() == {"0": 0}
    source.pause(on=True)
    put(kafka_servers, topic, *[b"x"] * 5)
    while Watched.had[0] < 6:
        next(events)
    assert source.lags() == {"0": 5}
    assert len(watched) == 1


def test_closing_drains_nothing(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Whoever closes has come to an end with what was handed out."""
    topic = made(admin)
    put(kafka_servers, topic, b"x")
    source = make_source(topic)
    drained: list[Collection[Partition]] = []
    events = source.events(nowhere, drained.append)
    while not isinstance(next(events), Chunk):
        pass
    source.close()
    assert drained == []


def test_a_chunk_that_is_not_full_lingers(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str, watched: list[Any]
) -> None:
    """It is cut by its size before its time has come."""
    topic = made(admin)
    put(kafka_servers, topic, *[b"x"] * 2)
    source = make_source(topic, chunk_records=3, linger=60)
    held(source, 2)
    source.pause(on=False)
    events = source.events(nowhere)
    assert [next(events) for _ in range(5)] == [Idle()] * 5
    put(kafka_servers, topic, b"x")
    chunk = next(event for event in events if isinstance(event, Chunk))
    assert chunk.records.height == Watched.had[0] == 3
    assert len(watched) == 1


def test_a_lower_position_is_no_news(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Neither the lag grows by an ack, nor do Kafka's offsets go back, or follow a stranger's."""
    topic, group = made(admin, partitions=2), f"group-{secrets.token_hex(4)}"
    put(kafka_servers, topic, *[b"x"] * 5)
    source = make_source(topic, group)
    read(source, None, {})
    source.ack({"0": Position(2)})
    assert is_read(source)
    source.close()
    source.ack({"1": Position(1)})
    asked = [TopicPartition(topic, each) for each in range(2)]
    other = Consumer({"bootstrap.servers": kafka_servers, "group.id": group})
    try:
        found = other.committed(asked, timeout=10)
    finally:
        other.close()
    assert [each.offset for each in found] == [5, OFFSET_INVALID]


def test_long_records_keep_their_head_and_a_digest(
    make_source: Callable[..., KafkaSource], admin: Any, kafka_servers: str
) -> None:
    """Of the whole, so that it can be told again; others are whole and have none."""
    topic = made(admin, max_message_bytes=str(4 << 20))
    long, longest = b"x" * (RAW_LIMIT + 1), b"y" * RAW_LIMIT
    put(kafka_servers, topic, b"a", long, longest, **{"message.max.bytes": 4 << 20})
    chunks = read(make_source(topic), None, {})
    names = ("raw", "length", "sha256", "fault")
    rows = [row for each in chunks for row in each.records.select(names).rows()]
    assert rows == [
        (b"a", 1, None, None),
        (long[:RAW_LIMIT], RAW_LIMIT + 1, sha256(long).digest(), "record_too_long"),
        (longest, RAW_LIMIT, None, None),
    ]


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
        (lost,) = topics.copies([once])[0].leaderless
        found = topics.find(once)
        assert found is not None
        with pytest.raises(Unavailable, match=f"{once}, partition {lost} has no leader"):
            Topics(KafkaConfig(bootstrap_servers=servers), timeout=2).bounds(found)
    finally:
        kafka_cluster.brokers[0].start()
