"""What tests of Kafka share."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest
from trial import MakeTopic, Trial

from assay_adapters.kafka.config import KafkaConfig


@pytest.fixture
def kafka(kafka_servers: str) -> KafkaConfig:
    """How a real broker is reached."""
    return KafkaConfig(bootstrap_servers=kafka_servers)


@pytest.fixture
def make_topic(kafka: KafkaConfig) -> Iterator[MakeTopic]:
    """Makes topics of so many partitions, of one unless that is said."""
    brisk = kafka.model_copy(update={"properties": {"heartbeat.interval.ms": "200"}})
    with ExitStack() as sources:
        yield partial(Trial, brisk, sources)
