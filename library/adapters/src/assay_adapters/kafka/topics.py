"""Topics: made, and looked at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import EarliestSpec, LatestSpec, OffsetSpec
from confluent_kafka.cimpl import NewTopic

from assay.domain.errors import Fatal
from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.errors import error_of, translated

_TIMEOUT: Final = 10.0
_AS_THE_BROKERS_HAVE_IT: Final[Mapping[str, str]] = {}


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
        futures = self._admin.describe_topics(TopicCollection([name]), request_timeout=_TIMEOUT)
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

    def make(
        self,
        name: str,
        *,
        partitions: int,
        replication: int | None,
        config: Mapping[str, str] = _AS_THE_BROKERS_HAVE_IT,
    ) -> bool:
        """Makes a topic unless it is there; returns whether it was not.

        Args:
            name: its name.
            partitions: how many.
            replication: how often each is kept; None as the brokers have it.
            config: properties of the topic that are not as the brokers have them.
        """
        wanted = NewTopic(
            name, partitions, replication_factor=replication or -1, config=dict(config)
        )
        future = self._admin.create_topics([wanted], operation_timeout=_TIMEOUT)[name]
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            raise error_of(error.args[0]) from None
        return True

    def bounds(self, topic: Topic) -> dict[int, tuple[int, int]]:
        """The first offset that each partition still has, and the one after its last."""
        firsts = self._offsets(topic, EarliestSpec())
        nexts = self._offsets(topic, LatestSpec())
        return {number: (firsts[number], nexts[number]) for number in topic.partitions}

    def _offsets(self, topic: Topic, spec: OffsetSpec) -> dict[int, int]:
        asked = {TopicPartition(topic.name, number): spec for number in topic.partitions}
        with translated():
            futures = self._admin.list_offsets(asked, request_timeout=_TIMEOUT)
            return {each.partition: future.result().offset for each, future in futures.items()}
