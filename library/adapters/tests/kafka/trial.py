"""A small topic of a test's own, what is put there, and how it is read."""

import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, TypeAlias

from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from assay.domain.chunk import Chunk
from assay.domain.position import Partition, Position, Positions
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.source import Begin, KafkaSource, Reading


def a_group() -> str:
    """A name that no other group has."""
    return f"group-{secrets.token_hex(4)}"


def enters_nothing(_: Positions) -> None:
    """For sources of which nobody keeps where they begin."""


class Trial:
    """A topic that is there, and its sources, which are closed with the test."""

    def __init__(
        self, kafka: KafkaConfig, sources: ExitStack, partitions: int = 1, **config: str
    ) -> None:
        self.name = f"test-{secrets.token_hex(8)}"
        self.servers = kafka.bootstrap_servers
        self._kafka, self._sources = kafka, sources
        self._admin: Any = AdminClient({"bootstrap.servers": self.servers})
        self._make(partitions, {key.replace("_", "."): each for key, each in config.items()})

    def _make(self, partitions: int, config: dict[str, str]) -> None:
        wanted = NewTopic(self.name, partitions, config=config)
        self._admin.create_topics([wanted])[self.name].result(30)

    def delete(self) -> None:
        """Returns once nobody is shown it any more."""
        self._admin.delete_topics([self.name])[self.name].result(30)
        while self.name in self._admin.list_topics(timeout=10).topics:
            pass

    def make_anew(self) -> None:
        """It is another one under the same name, and empty."""
        self.delete()
        self._make(1, {})

    def put(self, *values: bytes, partition: int = 0, **config: Any) -> None:
        """Returns once they are there."""
        producer = Producer({"bootstrap.servers": self.servers, **config})
        for each in values:
            producer.produce(self.name, each, partition=partition)
        assert producer.flush(30) == 0

    def put_into_both(self, *values: bytes) -> None:
        """Puts them into partition 0, and again into partition 1."""
        for partition in range(2):
            self.put(*values, partition=partition)

    def cut(self, offset: int, partition: int = 0) -> None:
        """Deletes what is before this offset of a partition."""
        at = TopicPartition(self.name, partition, offset)
        self._admin.delete_records([at])[at].result(30)

    def transactional(self) -> Producer:
        """A producer that is ready to begin a transaction."""
        producer = Producer({"bootstrap.servers": self.servers, "transactional.id": self.name})
        producer.init_transactions(30)
        return producer

    def source(
        self,
        group: str = "",
        begin: Begin = enters_nothing,
        most: Callable[[], int] | None = None,
        **reading: Any,
    ) -> KafkaSource:
        """One that reads it, in a group of its own unless one is named."""
        usual: dict[str, Any] = {"linger": 0.01, "tick": 0.05}
        asked = Reading(self.name, group or a_group(), **(usual | reading))
        source = KafkaSource(self._kafka, asked, begin, most)
        self._sources.callback(source.close)
        return source


MakeTopic: TypeAlias = Callable[..., Trial]


def nowhere(_: Sequence[Partition]) -> Positions:
    """The store has no position."""
    return {}


def read(
    source: KafkaSource,
    until: Callable[[], bool] | None,
    stands: dict[Partition, Position],
) -> list[Chunk]:
    """Commits and acks every chunk, until a condition holds; unless one is given, all there is."""
    chunks: list[Chunk] = []
    deadline = time.monotonic() + 30

    def positions(_: Sequence[Partition]) -> Positions:
        return stands

    for event in source.events(positions):
        if isinstance(event, Chunk):
            chunks.append(event)
            stands |= {each.partition: each.position for each in event.ranges}
            source.ack({each.partition: each.position for each in event.ranges})
        if until() if until is not None else is_read(source):
            return chunks
        assert time.monotonic() < deadline
    raise AssertionError


def values(chunks: Sequence[Chunk]) -> list[bytes | None]:
    """The records of chunks."""
    return [each for chunk in chunks for each in chunk.records["raw"]]


def places(chunks: Sequence[Chunk]) -> list[tuple[Any, ...]]:
    """Where the records of chunks were: partition and offset."""
    return [row for each in chunks for row in each.records.select("partition", "position").rows()]


def is_read(source: KafkaSource) -> bool:
    """Whether all there is, is acked."""
    lags = source.lags()
    return len(lags) == len(source.assigned) > 0 and not any(lags.values())
