"""Topics on a real broker: made, found, looked at; and what is said when that cannot be done."""

import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from threading import Thread
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from assay.domain.errors import Fatal, Unavailable
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.events import KafkaEvents
from assay_adapters.kafka.producer import KafkaProducer
from assay_adapters.kafka.reading import WholeRecords
from assay_adapters.kafka.topics import Copies, Topic, Topics
from assay_local import Local, kafka, servers

API_VERSIONS = 18  # a request: https://kafka.apache.org/protocol#The_Messages_ApiVersions
ASK: list[Callable[[Topics], object]] = [
    lambda topics: topics.brokers(),
    lambda topics: topics.find("any"),
    lambda topics: topics.copies(["any"]),
    lambda topics: topics.make("any", partitions=1, replication=None),
    lambda topics: topics.bounds(Topic("any", None, (0,))),
]


def _read_again(config: KafkaConfig, name: str) -> None:
    with closing(WholeRecords(config)) as records:
        assert records(f"kafka/{name}", "0", 0) is None


def _produce(config: KafkaConfig, name: str) -> None:
    producer = KafkaProducer(config, name)
    with pytest.raises(Fatal, match="no such topic"):
        _ = producer.send([(None, b"1")], 0), producer.flush(30)


def _tell(config: KafkaConfig, name: str) -> None:
    dropped: list[int] = []
    with closing(KafkaEvents(config, name, dropped.append)) as events:
        events.tell([b"event"])
    assert dropped


USE: list[Callable[[KafkaConfig, str], object]] = [
    lambda config, name: Topics(config).find(name),
    lambda config, name: Topics(config).copies([name]),
    _read_again,
    _produce,
    _tell,
]


@pytest.fixture(scope="module")
def obliging() -> Iterator[str]:
    """A broker as Kafka has it unless it is told: it makes topics that clients ask it for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(kafka.SETTINGS, "auto.create.topics.enable", "true")
        with servers("kafka", durable=False, environment={}) as local:
            yield local.kafka.url


@pytest.fixture
def topics(kafka_servers: str) -> Topics:
    """Those of the broker."""
    return Topics(KafkaConfig(bootstrap_servers=kafka_servers))


def delete(servers: str, name: str) -> None:
    """Returns when the broker does not show it any more."""
    admin: Any = AdminClient({"bootstrap.servers": servers})
    admin.delete_topics([name], operation_timeout=30)[name].result(30)
    deadline = time.monotonic() + 30
    while name in admin.list_topics(timeout=30).topics:
        assert time.monotonic() < deadline


def test_a_topic_is_made_once(topics: Topics, topic: str) -> None:
    """A new one has the partitions that were asked for; one that is there stays as it is."""
    name = f"{topic}-new"
    assert topics.find(name) is None
    assert topics.make(name, partitions=2, replication=1)
    made = topics.named(name)
    assert made.partitions == (0, 1)
    assert topics.copies([name, f"{topic}-none"]) == [Copies(name, 2, (), (), ())]
    assert made.id
    assert not topics.make(name, partitions=5, replication=None)
    assert topics.find(name) == made


def test_a_topic_that_is_made_anew_has_another_id(
    topics: Topics, topic: str, kafka_servers: str
) -> None:
    """Under the same name, so that offsets of the old one are not taken for those of the new."""
    before = topics.named(topic)
    delete(kafka_servers, topic)
    assert topics.find(topic) is None
    assert topics.make(topic, partitions=3, replication=None)
    after = topics.named(topic)
    assert after.partitions == before.partitions
    assert after.id != before.id


def test_bounds_are_those_of_what_is_there(topics: Topics, topic: str, kafka_servers: str) -> None:
    """From the first offset that is kept to the one after the last; equal where it is empty."""
    producer = Producer({"bootstrap.servers": kafka_servers})
    for _ in range(5):
        producer.produce(topic, b"x", partition=1)
    assert producer.flush(30) == 0
    assert topics.bounds(topics.named(topic)) == {0: (0, 0), 1: (0, 5), 2: (0, 0)}


def test_a_topic_that_is_not_there_is_made_by_a_command(topics: Topics) -> None:
    """The error names the topic or the partition, and what to do."""
    with pytest.raises(Fatal, match="no topic misspelt; `assay stream topics` makes those") as told:
        topics.named("misspelt")
    assert "accept-gap" not in str(told.value)  # who only writes has no books
    with pytest.raises(Fatal, match="accept-gap --topic misspelt"):
        topics.named("misspelt", is_read=True)
    with pytest.raises(Fatal, match="no topic misspelt"):
        topics.bounds(Topic("misspelt", None, (0,)))


def test_a_topic_that_cannot_be_made_is_fatal_or_not(topics: Topics, topic: str) -> None:
    """A name that Kafka does not take, and more copies than there are brokers: both are wrong."""
    with pytest.raises(Fatal, match="does not take a topic of this name"):
        topics.make("no name", partitions=1, replication=None)
    with pytest.raises(Fatal, match="ASSAY_STREAM__REPLICATION"):
        topics.make(f"{topic}-copied", partitions=1, replication=7)


@pytest.mark.parametrize("use", USE)
def test_no_topic_is_made_by_the_way(
    use: Callable[[KafkaConfig, str], object], obliging: str
) -> None:
    """Brokers may make what they are asked for: a topic that is misspelt stays missing."""
    name = f"misspelt-{secrets.token_hex(4)}"
    at_once = {"topic.metadata.propagation.max.ms": "0"}
    config = KafkaConfig(bootstrap_servers=obliging, properties=at_once)
    use(config, name)
    known = AdminClient({"bootstrap.servers": obliging}).list_topics(timeout=10).topics
    assert name not in known


@pytest.mark.parametrize("ask", ASK)
def test_nobody_there_is_said_within_seconds(ask: Callable[[Topics], object]) -> None:
    """Where nobody listens every call ends, and the reason is that of the connection."""
    topics = Topics(KafkaConfig(bootstrap_servers="127.0.0.1:1"), timeout=0.5)
    begin = time.monotonic()
    with pytest.raises(Unavailable, match="Connection refused"):
        ask(topics)
    assert time.monotonic() - begin < 3


def test_a_broker_that_hangs_is_away(local: Local, kafka_servers: str) -> None:
    """One that takes connections and says nothing holds no call for longer than its time."""
    topics = Topics(KafkaConfig(bootstrap_servers=kafka_servers), timeout=1)
    assert topics.brokers() == 1
    local.kafka.pause()
    try:
        begin = time.monotonic()
        with pytest.raises(Unavailable, match="Kafka is away"):
            topics.find("any")
        assert time.monotonic() - begin < 4
    finally:
        local.kafka.resume()
    assert topics.brokers() == 1


def test_wrong_settings_of_the_login_are_fatal(kafka_servers: str) -> None:
    """A broker that does not let us in is not away: waiting would not help."""
    config = KafkaConfig.model_validate(
        {
            "bootstrap_servers": kafka_servers,
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_username": "somebody",
            "sasl_password": "geheim",
        }
    )
    with pytest.raises(Fatal, match="ASSAY_KAFKA__SASL_") as caught:
        Topics(config, timeout=1).brokers()
    assert "geheim" not in str(caught.value)


def _end_at_the_login(listener: socket.socket) -> None:
    """A broker that tells what it understands, and ends where somebody begins to log in."""
    understood = [(3, 0, 4), (17, 0, 1), (18, 0, 0), (36, 0, 1)]
    listed = b"".join(struct.pack(">hhh", *each) for each in understood)
    while True:
        try:
            client = listener.accept()[0]
        except OSError:
            return  # the test is over
        with client, client.makefile("rb") as requests:
            while size := requests.read(4):
                request = requests.read(int.from_bytes(size, "big"))
                key, version, number = struct.unpack(">hhi", request[:8])
                if key != API_VERSIONS:
                    break
                unsupported = 35 if version else 0
                body = struct.pack(">ihi", number, unsupported, len(understood)) + listed
                client.sendall(len(body).to_bytes(4, "big") + body)


def test_a_broker_that_ends_during_a_login_is_away() -> None:
    """As each does in turn while a cluster is restarted: nobody has refused anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=_end_at_the_login, args=(listener,), daemon=True).start()
        config = KafkaConfig.model_validate(
            {
                "bootstrap_servers": f"127.0.0.1:{listener.getsockname()[1]}",
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_username": "somebody",
                "sasl_password": "geheim",
            }
        )
        with pytest.raises(Unavailable, match="handshake failed"):
            Topics(config, timeout=1).brokers()
        listener.shutdown(socket.SHUT_RDWR)


def test_wrong_properties_are_fatal() -> None:
    """A property that librdkafka does not know is named."""
    config = KafkaConfig(bootstrap_servers="127.0.0.1:1", properties={"nonsense": "1"})
    with pytest.raises(Fatal, match="nonsense"):
        Topics(config)


@pytest.mark.chaos  # each broker in turn
def test_topics_are_told_while_any_broker_is_away(kafka_cluster: Local) -> None:
    """Whether or not it was the controller that died, the others are asked."""
    servers = kafka_cluster.kafka.url
    topics = Topics(KafkaConfig(bootstrap_servers=servers))
    name = f"spread-{secrets.token_hex(4)}"
    topics.make(name, partitions=3, replication=None)
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
