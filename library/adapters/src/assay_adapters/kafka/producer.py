"""Messages put on a topic, in bulk."""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Report

from assay.domain.errors import AssayError, Fatal
from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.errors import error_of, translated

Message: TypeAlias = tuple[bytes | None, bytes | None]
"""Key and value."""

Sending: TypeAlias = Callable[[str, int], AbstractContextManager[Mapping[str, str]]]
"""Told a topic and how many messages a block hands over, gives the headers of one of them."""

_SLICE: Final = 2_000  # messages that are handed over at once
_POLL: Final = 0.05  # seconds
_PROPERTIES: Final = {
    # Acknowledged by all replicas in sync, each message once and in its partition's order.
    "enable.idempotence": True,
    "acks": "all",
    # What was measured as best: full batches; packed messages take a fifth of the room.
    "compression.type": "zstd",
    "linger.ms": 50,
    "batch.size": 1 << 20,
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 128 << 10,
}


def untraced(_: str, __: int) -> AbstractContextManager[Mapping[str, str]]:
    """`Sending` without headers."""
    return nullcontext({})


class KafkaProducer:
    """Puts messages on a topic, each once, those of one key in order.

    What cannot be delivered within librdkafka's `message.timeout.ms` (five minutes) has failed.

    Attributes:
        failed: how many messages have failed, by the name of the error.
    """

    def __init__(self, config: KafkaConfig, topic: str, sending: Sending = untraced) -> None:
        """Connects, in the background.

        Args:
            config: how Kafka is reached; its `properties` go before those that are chosen here,
                but for the ones that keep messages single.
            topic: one that exists.
            sending: traces what is handed over.

        Raises:
            Fatal: a property is wrong.
        """
        self._topic, self._sending = topic, sending
        self._taken = 0
        self._stopped_by: AssayError | None = None
        self.failed: Counter[str] = Counter()
        with translated():
            self._producer: Any = Producer(
                _PROPERTIES
                | client_properties(config)
                | {
                    # Of failures alone: the others are counted by what is left.
                    "delivery.report.only.error": True,
                    "on_delivery": self._note_failed,
                    "error_cb": self._note_error,
                }
            )

    @property
    def waiting(self) -> int:
        """How many messages are neither acknowledged nor failed so far."""
        return len(self._producer)

    @property
    def delivered(self) -> int:
        """How many messages all replicas in sync have."""
        return max(0, self._taken - self.waiting - self.failed.total())

    def send(self, messages: Sequence[Message], within: float) -> Sequence[Message]:
        """Takes messages in, to be delivered in the background.

        Args:
            messages: key and value of each.
            within: seconds that are waited, about, while there is no room for more.

        Returns:
            Those for which there was no room. A message that could never be sent, for
            its size say, is taken, and counts as failed.

        Raises:
            Fatal: the brokers take nothing from this producer any more.
        """
        until = time.monotonic() + within
        rest = messages
        while rest:
            left = self._take(rest[:_SLICE])
            rest = [*left, *rest[_SLICE:]] if left else rest[_SLICE:]
            self._poll(_POLL if left else 0)
            if left and time.monotonic() >= until:
                break
        self._poll(0)
        return rest

    def flush(self, within: float) -> int:
        """Waits until all messages are delivered or have failed, so many seconds at most.

        Returns:
            How many are neither. They may be delivered yet, unless the process ends.

        Raises:
            Fatal: as `send`.
        """
        until = time.monotonic() + within
        while self.waiting and time.monotonic() < until:
            with translated():  # what ends a producer is raised by what asks it
                self._producer.flush(_POLL)
            self._raise()
        self._poll(0)
        return self.waiting

    def _take(self, messages: Sequence[Message]) -> list[Message]:
        """Takes in messages; returns those for which there was no room."""
        with self._sending(self._topic, len(messages)) as headers:
            if headers and not self._take_one(messages[0], headers):
                return list(messages)
            return self._take_all(messages[1:] if headers else messages)

    def _take_one(self, message: Message, headers: Mapping[str, str]) -> bool:
        """Takes in a message with headers, which go with single ones only; False: no room."""
        key, value = message
        with translated():
            try:
                self._producer.produce(self._topic, value, key, headers=dict(headers))
            except BufferError:
                return False
            except KafkaException as error:
                self._note_failed(error.args[0], None)
        self._taken += 1
        return True

    def _take_all(self, messages: Sequence[Message]) -> list[Message]:
        batch: list[dict[str, Any]] = [{"key": key, "value": value} for key, value in messages]
        with translated():
            queued = self._producer.produce_batch(self._topic, batch)
        self._taken += queued
        if queued == len(batch):
            return []
        left: list[Message] = []
        for message, sent in zip(messages, batch, strict=True):
            error: KafkaError | None = sent.get("_error")
            if error is None:
                continue
            if error.code() == KafkaError._QUEUE_FULL:  # noqa: SLF001 - librdkafka's own name
                left.append(message)
            else:
                self._taken += 1
                self._note_failed(error, None)
        return left

    def _poll(self, seconds: float) -> None:
        with translated():
            self._producer.poll(seconds)
        self._raise()

    def _raise(self) -> None:
        if self._stopped_by is not None:
            raise self._stopped_by

    def _note_failed(self, error: KafkaError, _: Report | None) -> None:
        self.failed[error.name()] += 1
        self._note_error(error)

    def _note_error(self, error: KafkaError) -> None:
        """Keeps what no patience mends, to be raised once everything is counted."""
        meant = error_of(error)
        if isinstance(meant, Fatal) and self._stopped_by is None:
            self._stopped_by = meant
