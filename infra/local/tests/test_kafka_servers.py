"""Apache Kafka on this machine: what was acknowledged stays, whatever happens to its servers."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from assay_local import Local, LocalError, SetupError, processes, servers, topics

QUIET = {"log_level": 0}  # That a server is away is the test's doing.


@pytest.fixture(scope="module")
def broken() -> Iterator[Local]:
    """A broker that these tests break and mend again."""
    with servers("kafka", durable=False, environment={}) as local:
        yield local


def produce(addresses: str, topic: str, *values: str, idempotent: bool = False) -> None:
    """Sends the values, one after the other, to partition 0; all of them are acknowledged."""
    settings = {"bootstrap.servers": addresses, "enable.idempotence": idempotent}
    producer = Producer({**settings, **QUIET})
    for value in values:
        producer.produce(topic, value, partition=0)
    assert producer.flush(30) == 0


def values_of(addresses: str, topic: str, count: int) -> list[str]:
    """The first `count` values of partition 0, and those after them that are there as well."""
    settings = {"bootstrap.servers": addresses, "group.id": "test", "enable.auto.commit": False}
    consumer = Consumer({**settings, "enable.partition.eof": False, **QUIET})
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        found = consumer.consume(count, timeout=30) + consumer.consume(1, timeout=0.1)
    finally:
        consumer.close()
    return [(message.value() or b"").decode() for message in found]


def test_a_killed_broker_loses_nothing_and_comes_back_at_its_address(broken: Local) -> None:
    """After kill -9 and start the acknowledged messages are there, at the same address."""
    server = broken.kafka
    url = server.url
    topics.create(url, "kept")
    produce(url, "kept", "a", "b")
    process = server.process
    assert process
    server.kill()
    assert processes.wait_gone([process], 0)
    assert not server.answers()
    assert server.start() == "started"
    assert server.url == url
    produce(url, "kept", "c")
    assert values_of(url, "kept", 3) == ["a", "b", "c"]


def test_a_paused_broker_does_not_answer(broken: Local) -> None:
    """While paused it accepts connections and serves nobody; resumed, it serves."""
    broken.kafka.pause()
    assert not broken.kafka.answers()
    broken.kafka.resume()
    # Its first answer after the pause may come later than `answers` waits for it.
    deadline = time.monotonic() + 60
    while not broken.kafka.answers():
        assert time.monotonic() < deadline


def test_a_broker_whose_record_is_lost_is_replaced(broken: Local) -> None:
    """A broker that nobody remembers gives way to the next one on its data."""
    lost = broken.kafka.process
    assert lost
    state = broken.data / "state.json"
    remembered = json.loads(state.read_text())
    remembered["kafka"]["process"] = None
    state.write_text(json.dumps(remembered))
    broken.kafka.start()
    assert processes.wait_gone([lost], 0)
    assert broken.kafka.answers()


def test_kafka_listens_on_this_machine_only(broken: Local) -> None:
    """Its two ports are open on 127.0.0.1, and no others."""
    process = broken.kafka.process
    assert process
    listening = {
        (each.laddr.ip.removeprefix("::ffff:"), each.laddr.port)
        for each in process.net_connections()
        if each.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", port) for port in broken.kafka.site.ports}


def test_no_topic_is_made_by_the_way(broken: Local) -> None:
    """A topic that nobody made is not there, though a client names it."""
    admin = AdminClient({"bootstrap.servers": broken.kafka.url, **QUIET})
    for _ in range(2):
        found = admin.list_topics("misspelt", timeout=10).topics["misspelt"]
        assert found.error is not None
        assert found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def test_data_outlive_the_block_and_other_ports(tmp_path: Path) -> None:
    """The next block finds topics and messages, also where another program took the ports."""
    with servers("kafka", data=tmp_path / "data", durable=False, environment={}) as local:
        topics.create(local.kafka.url, "kept")
        produce(local.kafka.url, "kept", "a")
        ports = local.kafka.site.ports
    with (
        socket.create_server(("127.0.0.1", ports[0])),
        socket.create_server(("127.0.0.1", ports[1])),
        servers("kafka", data=tmp_path / "data", durable=False, environment={}) as local,
    ):
        assert not {*ports} & {*local.kafka.site.ports}
        assert local.kafka.entry.moved_from == ports[0]
        produce(local.kafka.url, "kept", "b")
        assert values_of(local.kafka.url, "kept", 2) == ["a", "b"]
        with pytest.raises(SetupError, match="made with --brokers 1, which cannot become 3"):
            Local(local.data, durable=False, environment={}, brokers=3).start("kafka")


def test_a_cluster_survives_the_loss_of_a_broker(kafka_cluster: Local) -> None:
    """With one of three killed, what is sent is acknowledged; nothing is lost or doubled.

    It does not come back at another address, which the others would not know.
    """
    url = kafka_cluster.kafka.url
    topic = topics.create(url, "survivor")
    produce(url, topic, "a", idempotent=True)
    broker = kafka_cluster.brokers[0]
    broker.kill()
    produce(url, topic, "b", idempotent=True)
    with (
        socket.create_server(("127.0.0.1", broker.site.port)),
        pytest.raises(LocalError, match="assay down, then up"),
    ):
        kafka_cluster.start("kafka")
    assert broker.start() == "started"
    assert values_of(url, topic, 2) == ["a", "b"]
