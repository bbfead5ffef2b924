"""Topics: made, and looked at."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import EarliestSpec, LatestSpec, OffsetSpec
from confluent_kafka.cimpl import NewTopic

from assay.domain.errors import Fatal, Unavailable
from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.errors import error_of, translated

_TIMEOUT: Final = 10.0  # seconds to make a topic in
_ASK: Final = 5.0  # seconds to say something in; a loop waits for it


@dataclass(frozen=True)
class Topic:
    """A topic as it stands.

    Attributes:
        id: given once, when it was made; one that is made anew under the same name has another.
            None where the brokers give none.
        partitions: their numbers.
    """

    name: str
    id: str | None
    partitions: tuple[int, ...]


class Topics:
    """The topics of a cluster. Every method raises `Unavailable` while it is away, or `Fatal`."""

    def __init__(self, config: KafkaConfig) -> None:
        self._admin: Any = AdminClient(client_properties(config))  # its stubs are partial

    def find(self, name: str) -> Topic | None:
        """A topic by its name; None where there is none."""
        # Tells the client which brokers there are: asked alone, it would wait for a controller that
        # has died until it looks by itself, in minutes, and call it thousands of times a second.
        with translated():
            self._admin.list_topics(name, timeout=_ASK)
        futures = self._admin.describe_topics(TopicCollection([name]), request_timeout=_ASK)
        try:
            found = futures[name].result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise error_of(error.args[0]) from None
        numbers = tuple(sorted(each.id for each in found.partitions))
        return Topic(name, None if found.topic_id is None else str(found.topic_id), numbers)

    def named(self, name: str) -> Topic:
        """The same.

        Raises:
            Fatal: there is none.
        """
        topic = self.find(name)
        if topic is None:
            raise Fatal(f"there is no topic {name}: `assay stream topics` makes it")
        return topic

    def make(self, name: str, *, partitions: int, replication: int | None) -> bool:
        """Makes a topic unless it is there; returns whether it was not.

        Args:
            name: its name.
            partitions: how many.
            replication: how often each is kept; None as the brokers have it.
        """
        wanted = NewTopic(name, partitions, replication_factor=replication or -1)
        future = self._admin.create_topics([wanted], operation_timeout=_TIMEOUT)[name]
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise error_of(error.args[0]) from None
        return True

    def bounds(self, topic: Topic) -> dict[int, tuple[int, int]]:
        """The first offset that each partition still has, and the one after its last.

        Partitions that have no leader just now are left out.
        """
        firsts = self._offsets(topic, EarliestSpec())
        nexts = self._offsets(topic, LatestSpec())
        return {number: (firsts[number], nexts[number]) for number in firsts.keys() & nexts.keys()}

    def _offsets(self, topic: Topic, spec: OffsetSpec) -> dict[int, int]:
        asked = {TopicPartition(topic.name, number): spec for number in topic.partitions}
        with translated():
            futures = self._admin.list_offsets(asked, request_timeout=_ASK)
        found: dict[int, int] = {}
        for each, future in futures.items():
            with suppress(Unavailable), translated():
                offset = future.result().offset
                if offset >= 0:  # a leader that is new may not know it yet
                    found[each.partition] = offset
        if not found:
            raise Unavailable(f"Kafka is away (no partition of {topic.name} has a leader)")
        return found
