"""The producer on a real broker."""

import time
from collections import Counter

import pytest

from assay.domain.errors import Fatal
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.producer import KafkaProducer
from assay_local import topics

Messages = list[tuple[bytes | None, bytes | None]]


def config(servers: str, **properties: str) -> KafkaConfig:
    names = {name.replace("_", "."): value for name, value in properties.items()}
    return KafkaConfig(bootstrap_servers=servers, properties=names)


def test_messages_arrive_once_and_those_of_a_key_in_order(kafka_servers: str, topic: str) -> None:
    """Tombstones, empty values and messages without a key are messages too."""
    messages: Messages = [(b"key-%d" % (each % 7), b"%06d" % each) for each in range(5_000)]
    messages += [(b"gone", None), (None, b""), (None, None)]
    producer = KafkaProducer(config(kafka_servers), topic)
    assert not producer.send(messages, 10)
    assert producer.flush(30) == 0
    assert (producer.delivered, producer.failed) == (len(messages), Counter())
    read = topics.read(kafka_servers, topic)
    assert Counter(read) == Counter(messages)
    for key in {key for key, value in messages if value}:
        if key is not None:
            assert [each for each in read if each[0] == key] == [
                each for each in messages if each[0] == key
            ]


def test_a_full_buffer_is_waited_for(kafka_servers: str, topic: str) -> None:
    """However small it is, all messages get through, each once."""
    messages: Messages = [(b"k", b"%05d" % each) for each in range(5_000)]
    small = config(kafka_servers, queue_buffering_max_messages="300", linger_ms="1")
    producer = KafkaProducer(small, topic)
    assert not producer.send(messages, 30)
    assert producer.flush(30) == 0
    assert producer.delivered == len(messages)
    assert Counter(topics.read(kafka_servers, topic)) == Counter(messages)


def test_a_message_that_is_too_large_fails_alone(kafka_servers: str, topic: str) -> None:
    """It is counted by the error's name; its neighbours are delivered."""
    producer = KafkaProducer(config(kafka_servers), topic)
    assert not producer.send([(b"a", b"1"), (b"b", b"x" * 2_000_000), (b"c", b"3")], 10)
    assert producer.flush(30) == 0
    assert (producer.delivered, producer.failed) == (2, Counter(MSG_SIZE_TOO_LARGE=1))
    assert {key for key, _ in topics.read(kafka_servers, topic)} == {b"a", b"c"}


def test_without_a_broker_sending_and_flushing_end() -> None:
    """What finds no room comes back; what is under way is counted; nothing waits longer."""
    nowhere = config("127.0.0.1:1", queue_buffering_max_messages="10")
    producer = KafkaProducer(nowhere, "nowhere")
    messages: Messages = [(None, b"%d" % each) for each in range(15)]
    began = time.monotonic()
    assert list(producer.send(messages, 0.2)) == messages[10:]
    assert producer.flush(0.2) == 10
    assert time.monotonic() - began < 5
    assert (producer.delivered, producer.waiting) == (0, 10)


def test_what_is_never_delivered_has_failed() -> None:
    """After `message.timeout.ms` a message counts as failed and leaves room for others."""
    nowhere = config("127.0.0.1:1", message_timeout_ms="300")
    producer = KafkaProducer(nowhere, "nowhere")
    assert not producer.send([(None, b"1")], 1)
    assert producer.flush(10) == 0
    assert producer.failed == Counter(_MSG_TIMED_OUT=1)


def test_what_no_patience_mends_is_raised(kafka_servers: str) -> None:
    """Such as a topic that is gone: the producer ends."""
    at_once = config(kafka_servers, topic_metadata_propagation_max_ms="0")
    producer = KafkaProducer(at_once, "no-such-topic")
    with pytest.raises(Fatal, match="assay stream topics"):
        _ = producer.send([(None, b"1")], 0), producer.flush(30)
    assert producer.failed.total() == 1


def test_properties_come_from_the_environment_as_json() -> None:
    """An object in JSON; those that keep messages single are not to be had."""
    read = KafkaConfig.model_validate(
        {"bootstrap_servers": "x:1", "properties": '{"linger.ms": "5"}'}
    )
    assert read.properties == {"linger.ms": "5"}
    with pytest.raises(ValueError, match="properties"):
        KafkaConfig.model_validate({"bootstrap_servers": "x:1", "properties": "linger.ms=5"})
    with pytest.raises(ValueError, match=r"enable\.idempotence"):
        config("127.0.0.1:1", enable_idempotence="false")
