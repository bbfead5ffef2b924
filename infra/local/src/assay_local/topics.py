"""Topics of their own for tests, on any Kafka whose user may create them."""

import time
from typing import Any

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from assay_local.errors import LocalError

SECONDS = 30


def create(servers: str, name: str, *, partitions: int = 3) -> str:
    """Creates a topic, kept as often as the brokers say; returns its name when it can be used."""
    admin: Any = AdminClient({"bootstrap.servers": servers, "log_level": 0})  # partial stubs
    created = admin.create_topics([NewTopic(name, partitions)], operation_timeout=SECONDS)
    created[name].result(SECONDS)
    deadline = time.monotonic() + SECONDS
    while admin.list_topics(name, SECONDS).topics[name].error is not None:  # Not told to all yet.
        if time.monotonic() > deadline:
            raise LocalError(f"Kafka has made the topic {name}, but does not show it.")
        time.sleep(0.01)
    return name
