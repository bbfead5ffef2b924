"""Events on a topic, as well as they go."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Report

from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.errors import translated

_FLUSH: Final = 2.0  # seconds
_PROPERTIES: Final = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "zstd",
    "linger.ms": 50,
    # Bounded: what has no room is dropped.
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 32 << 10,
}


class KafkaEvents:
    """Puts events on a topic in the background; holds nothing up and never fails.

    An event that is told may be dropped: when the buffer is full, since Kafka is away for long, or
    when the topic cannot be written to. Safe to use from several threads.
    """

    def __init__(self, config: KafkaConfig, topic: str, dropped: Callable[[int], None]) -> None:
        """Connects, in the background.

        Args:
            config: how Kafka is reached.
            topic: where events go.
            dropped: told how many were dropped.

        Raises:
            Fatal: a property is wrong.
        """
        self._topic = topic
        self._dropped = dropped
        self._properties: Any = (
            _PROPERTIES | client_properties(config) | {"on_delivery": self._note}
        )
        with translated():
            self._producer: Any = Producer(self._properties)  # its stubs are partial

    def tell(self, events: Iterable[bytes]) -> None:
        """Takes events in, in this order."""
        lost = 0
        for each in events:
            try:
                self._take(each)
            except (BufferError, KafkaException):
                lost += 1
        if lost:
            self._dropped(lost)
        try:
            self._producer.poll(0)
        except KafkaException:  # it can send nothing more
            self._begin_anew()

    def close(self) -> None:
        """Waits two seconds at most for what is under way; the rest is dropped."""
        with suppress(KafkaException):
            if self._producer.flush(_FLUSH):
                self._drop()

    def _begin_anew(self) -> None:
        """Another producer sends what comes next."""
        with suppress(KafkaException):
            self._drop()
        self._producer = Producer(self._properties)

    def _drop(self) -> None:
        """Gives up what is under way, and counts it."""
        self._producer.purge()
        self._producer.poll(0)

    def _take(self, event: bytes) -> None:
        try:
            self._producer.produce(self._topic, event)
        except BufferError:
            self._producer.poll(0)  # what is acknowledged makes room
            self._producer.produce(self._topic, event)

    def _note(self, error: KafkaError | None, _: Report) -> None:
        if error is not None:
            self._dropped(1)
