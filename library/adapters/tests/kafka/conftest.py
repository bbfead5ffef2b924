"""What tests of Kafka share."""

import pytest

from assay_adapters.kafka.config import KafkaConfig


@pytest.fixture
def kafka(kafka_servers: str) -> KafkaConfig:
    """How a real broker is reached."""
    return KafkaConfig(bootstrap_servers=kafka_servers)
