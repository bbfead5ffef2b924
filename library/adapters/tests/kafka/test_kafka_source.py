"""The guarantees of a source on a real topic, and what only a topic does."""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import pytest
from confluent_kafka import Producer

from assay.domain.errors import Unavailable
from assay.domain.position import Partition, Positions
from assay.ports.source import Source
from assay.testing.source import MakeSource, SourceSuite
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.source import KafkaSource, Reading
from assay_adapters.kafka.topics import Topics


def away(_: Sequence[Partition]) -> Positions:
    raise Unavailable("away")


@pytest.fixture
def kafka(kafka_servers: str) -> KafkaConfig:
    return KafkaConfig(bootstrap_servers=kafka_servers)


@pytest.fixture
def joined(kafka: KafkaConfig) -> Iterator[Callable[..., KafkaSource]]:
    """Makes sources that have been given their partitions, of groups of their own."""
    with ExitStack() as stack:

        def make(topic: str, group: str | None = None) -> KafkaSource:
            source = KafkaSource(
                kafka,
                Reading(
                    topic,
                    group or f"group-{secrets.token_hex(4)}",
                    chunk_records=3,
                    linger=0.01,
                    tick=0.05,
                ),
            )
            stack.callback(source.close)
            events = source.events(away)
            while not source.assigned:
                next(events)
            return source

        yield make


class TestKafkaSource(SourceSuite):
    patience = 60  # a busy broker lets one wait

    def is_drained(self, source: Source) -> bool:
        assert isinstance(source, KafkaSource)
        lags = source.lags()
        return len(lags) == len(source.assigned) and not any(lags.values())

    @pytest.fixture
    def make_source(self, kafka: KafkaConfig, joined: Callable[..., KafkaSource]) -> MakeSource:
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
            return joined(topic), names

        return make
