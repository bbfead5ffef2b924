"""Topics of their own for tests, on any Kafka whose user may create them."""

from typing import Any

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

SECONDS = 30


def create(servers: str, name: str, *, partitions: int = 3) -> str:
    """Creates a topic, kept as often as the brokers say; returns its name when it can be used."""
    admin: Any = AdminClient({"bootstrap.servers": servers})  # its stubs are partial
    created = admin.create_topics([NewTopic(name, partitions)], operation_timeout=SECONDS)
    created[name].result(SECONDS)
    return name
