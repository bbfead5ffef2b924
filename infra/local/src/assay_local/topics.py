"""Topics of their own for tests, on any Kafka whose user may create them."""

import time
from typing import Any

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec  # the type's own place
from confluent_kafka.cimpl import NewTopic

from assay_local.errors import LocalError

SECONDS = 30


def create(servers: str, name: str, *, partitions: int = 3) -> str:
    """Creates a topic, kept as often as the brokers say; returns its name when it can be used."""
    admin: Any = AdminClient({"bootstrap.servers": servers, "log_level": 0})  # partial stubs
    created = admin.create_topics([NewTopic(name, partitions)], operation_timeout=SECONDS)
    created[name].result(SECONDS)
    _ends(admin, name, partitions)  # not told to all yet
    return name


def ends(servers: str, name: str) -> list[int]:
    """Where each partition of a topic ends, asked until all who lead one know that they do.

    A broker that was killed or paused leads anew after that, and not all hear of it at once.

    Raises:
        LocalError: nobody leads it.
    """
    admin: Any = AdminClient({"bootstrap.servers": servers, "log_level": 0})  # partial stubs
    return _ends(admin, name, len(admin.list_topics(name, SECONDS).topics[name].partitions))


def _ends(admin: Any, name: str, partitions: int) -> list[int]:
    asked = {TopicPartition(name, each): OffsetSpec.latest() for each in range(partitions)}
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            found = admin.list_offsets(asked, request_timeout=SECONDS).values()
            return [end.result(SECONDS).offset for end in found]
        except KafkaException as error:
            if time.monotonic() > deadline:
                message = f"Kafka has the topic {name}, but does not show it."
                raise LocalError(message) from error
        time.sleep(0.01)


def read(servers: str, name: str) -> list[tuple[bytes | None, bytes | None]]:
    """Key and value of all messages that a topic has by now, partition by partition.

    Raises:
        TimeoutError: they do not come.
        LocalError: nobody leads it.
    """
    config = {"bootstrap.servers": servers, "group.id": name, "fetch.wait.max.ms": 10}
    consumer: Any = Consumer(config)  # its stubs are partial
    try:
        afters = ends(servers, name)
        whole = sum(afters)
        consumer.assign([TopicPartition(name, each, 0) for each in range(len(afters))])
        messages: list[Any] = []
        while len(messages) < whole:
            found = consumer.consume(min(10_000, whole - len(messages)), SECONDS)
            if not found or any(message.error() for message in found):
                raise TimeoutError(f"{whole - len(messages)} messages of {name} do not come")
            messages += found
    finally:
        consumer.close()
    messages.sort(key=lambda message: (message.partition(), message.offset()))
    return [(message.key(), message.value()) for message in messages]
