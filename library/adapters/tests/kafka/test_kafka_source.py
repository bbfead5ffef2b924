"""The guarantees of a source on a real topic, and what only a topic does."""

import secrets
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from functools import partial
from hashlib import sha256
from itertools import takewhile

import pytest
from confluent_kafka import Producer
from trial import MakeTopic, enters_nothing, nowhere, read

from assay.domain.chunk import Chunk, Idle
from assay.domain.errors import Fatal, Unavailable
from assay.domain.position import Partition, Positions
from assay.domain.reject import RAW_LIMIT
from assay.ports.source import Source
from assay.testing.source import MakeSource, SharedSourceSuite
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.source import KafkaSource, Reading
from assay_adapters.kafka.topics import Topics
from assay_local import Local


def away(_: Sequence[Partition]) -> Positions:
    raise Unavailable("away")


def kafka_source(source: Source) -> KafkaSource:
    assert isinstance(source, KafkaSource)
    return source


@pytest.fixture
def kafka(kafka_servers: str) -> KafkaConfig:
    return KafkaConfig(bootstrap_servers=kafka_servers, properties={"heartbeat.interval.ms": "200"})


@pytest.fixture
def open_sources() -> Iterator[ExitStack]:
    """Those that are closed with the test, the last one first."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def opened(kafka: KafkaConfig, open_sources: ExitStack) -> Callable[[Reading], KafkaSource]:
    """Makes sources."""

    def make(reading: Reading) -> KafkaSource:
        return open_sources.enter_context(closing(KafkaSource(kafka, reading, enters_nothing)))

    return make


class TestKafkaSource(SharedSourceSuite):
    patience = 60  # a busy broker lets one wait
    join: Callable[[], KafkaSource]

    def is_drained(self, source: Source) -> bool:
        lags = kafka_source(source).lags()
        return len(lags) == len(self.owned(source)) and not any(lags.values())

    def owned(self, source: Source) -> Collection[Partition]:
        return kafka_source(source).assigned

    def ask_back(self, source: Source) -> None:  # noqa: ARG002 - there is one
        """Another member joins the group."""
        next(self.join().events(away))

    @pytest.fixture
    def make_source(
        self, kafka: KafkaConfig, opened: Callable[[Reading], KafkaSource]
    ) -> MakeSource:
        def make(logs: Mapping[str, Sequence[bytes]]) -> tuple[KafkaSource, dict[str, Partition]]:
            topic = f"test-{secrets.token_hex(8)}"
            Topics(kafka).make(topic, partitions=len(logs), replication=None)
            producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
            names: dict[str, Partition] = {}
            for number, (name, log) in enumerate(logs.items()):
                names[name] = str(number)
                for each in log:
                    producer.produce(topic, each, partition=number)
            assert producer.flush(10) == 0
            group = f"group-{secrets.token_hex(4)}"
            reading = Reading(topic, group, chunk_records=3, linger=0.01, tick=0.05)
            self.join = partial(opened, reading)
            source = self.join()
            events = source.events(away)
            while not source.assigned:
                next(events)
            return source, names

        return make


def test_two_consumers_of_one_instance_id_are_a_fault(
    kafka: KafkaConfig, topic: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """The one that was there first is told so, and does not live on without partitions.

    librdkafka writes nothing past the log.
    """
    reading = Reading(topic, f"group-{secrets.token_hex(4)}", instance="one")
    with (
        closing(KafkaSource(kafka, reading, enters_nothing)) as first,
        closing(KafkaSource(kafka, reading, enters_nothing)) as second,
    ):
        events, others = first.events(lambda _: {}), second.events(lambda _: {})
        while not first.assigned:
            next(events)
        both = (next(each) for _ in range(200) for each in (others, events))
        with pytest.raises(Fatal, match="--instance-id"):
            deque(both, maxlen=0)
    assert "FATAL" not in capfd.readouterr().err


def test_where_brokers_were_looked_for_is_told() -> None:
    """With what came of the connection, which says more than that nobody answers."""
    nowhere = KafkaConfig(bootstrap_servers="127.0.0.1:1")
    with closing(KafkaSource(nowhere, Reading("t", "g"), enters_nothing)) as source:
        with pytest.raises(Unavailable) as caught:
            deque(source.events(lambda _: {}), maxlen=0)
        assert "ASSAY_KAFKA__BOOTSTRAP_SERVERS is 127.0.0.1:1;" in str(caught.value)
        assert "Connection refused" in str(caught.value)


def test_a_broker_that_hangs_is_away_until_it_answers(
    local: Local, make_topic: MakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for who has read all there is; that nothing comes is no sign that it is back."""
    monkeypatch.setattr("assay_adapters.kafka.source._ASK", 0.5)
    topic = make_topic()
    topic.put(b"x")
    source = topic.source()
    read(source, None, {})
    local.kafka.pause()
    try:
        until = time.monotonic() + 10
        with pytest.raises(Unavailable, match="Kafka is away"):
            deque(takewhile(lambda _: time.monotonic() < until, source.events(nowhere)), maxlen=0)
        for _ in range(4):
            with pytest.raises(Unavailable, match="Kafka is away"):
                next(source.events(nowhere))
    finally:
        local.kafka.resume()
    until = time.monotonic() + 10
    while True:
        with suppress(Unavailable):
            assert next(source.events(nowhere)) == Idle()
            break
        assert time.monotonic() < until


def test_keys_count_for_the_size_of_a_chunk(kafka: KafkaConfig, topic: str) -> None:
    """A chunk is cut by the bytes of values and keys together."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    for _ in range(6):
        producer.produce(topic, b"{}", key=b"k" * 100_000, partition=0)
    assert producer.flush(10) == 0
    reading = Reading(topic, f"group-{secrets.token_hex(4)}", chunk_bytes=150_000, linger=60)
    with closing(KafkaSource(kafka, reading, enters_nothing)) as source:
        events = source.events(lambda _: {})
        chunk = next(event for event in events if isinstance(event, Chunk))
        assert 2 <= chunk.records.height <= 6


def test_who_says_how_many_fill_a_chunk_is_asked_before_each(make_topic: MakeTopic) -> None:
    """What is in hand is handed out at once where that is more than a chunk may have by now."""
    topic, most = make_topic(), [50]
    topic.put(*(b"%d" % number for number in range(100)))
    source = topic.source(most=lambda: most[0], linger=60)
    events = source.events(nowhere)
    sizes: list[int] = []
    while sum(sizes) < 100:
        if isinstance(event := next(events), Chunk):
            sizes.append(event.records.height)
            most[0] = 10
    assert sizes[0] == 50
    assert set(sizes[1:]) == {10}


def test_long_records_keep_their_head_and_a_digest(make_topic: MakeTopic) -> None:
    """Of the whole, so that it can be told again; others are whole and have none."""
    topic = make_topic(max_message_bytes=str(4 << 20))
    long, longest = b"x" * (RAW_LIMIT + 1), b"y" * RAW_LIMIT
    topic.put(b"a", long, longest, **{"message.max.bytes": 4 << 20})
    chunks = read(topic.source(), None, {})
    names = ("raw", "length", "sha256", "fault")
    rows = [row for each in chunks for row in each.records.select(names).rows()]
    assert rows == [
        (b"a", 1, None, None),
        (long[:RAW_LIMIT], RAW_LIMIT + 1, sha256(long).digest(), "record_too_long"),
        (longest, RAW_LIMIT, None, None),
    ]
