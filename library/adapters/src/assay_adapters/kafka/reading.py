"""Topics read outside of a group: from their beginning to their end, or one message."""

import time
from collections.abc import Iterable, Iterator, Mapping
from threading import Lock
from types import MappingProxyType
from typing import Any, Final

import polars as pl
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from assay.domain.errors import Denied, Unavailable, Unreadable
from assay.domain.position import TOPICS, Partition
from assay.wire.envelope import Message as LetterMessage
from assay.wire.envelope import letters_from_messages
from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.errors import error_of, translated
from assay_adapters.kafka.topics import Topics

_CALL: Final = 1_000  # messages of one call, of up to 1 MiB
_POLL: Final = 0.2  # seconds
_SILENCE: Final = 10.0  # seconds without a message or an end after which Kafka counts as away
_ASK: Final = 5.0  # seconds for a broker to say whether it has a record
_OURS: Final = "assay.id"
_AT_THE_BEGINNING: Final[Mapping[int, int]] = MappingProxyType({})
_GONE: Final = {
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 - librdkafka's own name
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._PARTITION_EOF,  # noqa: SLF001 - the same
}
_UNKNOWN: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - the same
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the same
}
"""Said also of a partition that is there, while it has no leader, as after a broker has hung."""


def letters_on(config: KafkaConfig, topic: str) -> Iterator[tuple[pl.DataFrame, int]]:
    """The dead letters on a topic, from its beginning to where it ends just now.

    Messages without the header `assay.id` are none of Assay's, whatever else they are: those that
    Kafka Connect has put there say neither how their records are written nor what is wrong with
    them. Only committed messages of transactions are read.

    Args:
        config: how Kafka is reached.
        topic: its name.

    Yields:
        Some letters, shaped as `LETTERS`, and how many messages besides were none.

    Raises:
        Unavailable: Kafka is away.
        Unreadable: a message has that header and is no letter all the same; says where.
        Fatal: there is no such topic, or it may not be read.
    """
    for messages in _to_the_end(config, topic):
        ours = [each for each in messages if is_letter(each)]
        yield _letters(topic, ours), len(messages) - len(ours)


def letters_among(messages: Iterable[Message]) -> pl.DataFrame:
    """The dead letters among messages of a topic, shaped as `LETTERS`; others are none of Assay's.

    Raises:
        Unreadable: a message has the header of one and is none all the same; says where.
    """
    ours = [each for each in messages if is_letter(each)]
    return _letters(ours[0].topic() or "" if ours else "", ours)


def newest(config: KafkaConfig, topic: str, most: int = 500) -> list[Message]:
    """The latest messages on a topic, the newest first.

    Args:
        config: how Kafka is reached.
        topic: its name.
        most: offsets of each partition that are looked at, those of markers included.

    Raises:
        Unavailable: Kafka is away.
        Fatal: there is no such topic, or it may not be read.
    """
    topics = Topics(config)
    bounds = topics.bounds(topics.named(topic))
    begins = {each: max(first, after - most) for each, (first, after) in bounds.items()}
    found = [each for part in _to_the_end(config, topic, begins) for each in part]
    return sorted(found, key=lambda each: each.timestamp()[1], reverse=True)


def _letters(topic: str, messages: list[Message]) -> pl.DataFrame:
    try:
        return letters_from_messages(map(_parts, messages))
    except Unreadable:
        for each in messages:  # which one is it?
            try:
                letters_from_messages([_parts(each)])
            except Unreadable as error:
                where = f"{topic}/{each.partition()}@{each.offset()}"
                raise Unreadable(f"{where}: {error}") from None
        raise


def _headers(message: Message) -> list[tuple[str, bytes]]:
    found: Any = message.headers()  # its stubs are partial
    return [(name, value) for name, value in found or () if value is not None]


def is_letter(message: Message) -> bool:
    """Whether a message of a topic says that it is one of Assay's dead letters."""
    return any(name == _OURS for name, _ in _headers(message))


def _parts(message: Message) -> LetterMessage:
    key, value = message.key(), message.value()
    return LetterMessage(_bytes(key), _bytes(value), _headers(message))


def _bytes(content: str | bytes | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


def _to_the_end(
    config: KafkaConfig, topic: str, begins: Mapping[int, int] = _AT_THE_BEGINNING
) -> Iterator[list[Message]]:
    """The messages from some offsets, or the first ones, to where the topic ends just now."""
    topics = Topics(config)
    bounds = topics.bounds(topics.named(topic))
    begins = {each: max(first, begins.get(each, 0)) for each, (first, _) in bounds.items()}
    ends = {number: after for number, (_, after) in bounds.items() if after > begins[number]}
    consumer = _consumer(config)
    try:
        consumer.assign([TopicPartition(topic, each, begins[each]) for each in ends])
        heard = time.monotonic()
        while ends:
            with translated():
                came = consumer.consume(_CALL, _POLL)
            if came:
                heard = time.monotonic()
            elif time.monotonic() > heard + _SILENCE:
                raise Unavailable(f"Kafka is away: {topic} is not told to its end")
            messages: list[Message] = []
            for each in came:
                number, offset, error = each.partition(), each.offset(), each.error()
                if number not in ends or offset is None:
                    continue
                if error is None and offset < ends[number]:
                    messages.append(each)
                elif error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                    raise error_of(error)
                if error is not None or offset + 1 >= ends[number]:
                    del ends[number]
            if messages:
                yield messages
    finally:
        consumer.close()


class WholeRecords:
    """Reads single records of topics again, whole.

    Safe to use from several threads.
    """

    def __init__(self, config: KafkaConfig) -> None:
        """Connects at the first record.

        Args:
            config: how Kafka is reached.
        """
        self._config = config
        self._consumer: Any = None
        self._lock = Lock()
        self._failure: tuple[float, Unavailable] | None = None

    def __call__(self, source: str, partition: Partition, position: int) -> bytes | None:
        """The bytes of the record that stands there now; None where there is none.

        Args:
            source: `kafka/` and the topic; others have none here.
            partition: its number.
            position: the message's offset.

        Raises:
            Unavailable: Kafka is away.
            Denied: this topic may not be read.
            Fatal: no topic can be.
        """
        # Another record may stand there where the topic was made anew since: its sha256 tells.
        if not (source.startswith(TOPICS) and partition.isdecimal()):
            return None
        at = TopicPartition(source.removeprefix(TOPICS), int(partition), position)
        began = time.monotonic()
        with self._lock:
            # Whoever has waited while another found nobody need not find that out once more.
            if self._failure is not None and self._failure[0] >= began:
                raise self._failure[1]
            try:
                with translated():
                    return self._whole(at)
            except Unavailable as error:
                self._failure = time.monotonic(), error
                raise

    def _whole(self, at: TopicPartition) -> bytes | None:
        self._consumer = self._consumer or _consumer(self._config)
        try:
            if not self._has(at):
                return None
            self._consumer.assign([at])
            return self._read(at.offset)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise Denied(f"{at.topic} may not be read: give this user the right") from None
            if code in _GONE or (code in _UNKNOWN and not self._is_there(at)):
                return None
            if code in _UNKNOWN:
                where = f"{at.topic}, partition {at.partition}"
                raise Unavailable(f"Kafka is away in part: {where} has no leader") from None
            raise
        finally:
            self._consumer.unassign()

    def _is_there(self, at: TopicPartition) -> bool:
        """Whether the topic has this partition, be it one that nobody leads just now."""
        topic = Topics(self._config, timeout=_ASK).find(at.topic)
        return topic is not None and at.partition in topic.partitions

    def _has(self, at: TopicPartition) -> bool:
        first, after = self._consumer.get_watermark_offsets(at, timeout=_ASK)
        return first <= at.offset < after

    def _read(self, position: int) -> bytes | None:
        until = time.monotonic() + _SILENCE
        while time.monotonic() < until:
            message = self._consumer.poll(_POLL)
            if message is None:
                continue
            error = message.error()
            if error is None:
                return message.value() if message.offset() == position else None
            if error.code() != KafkaError._TRANSPORT:  # noqa: SLF001 - librdkafka's own name
                raise KafkaException(error)
        raise Unavailable("Kafka is away: a record could not be read again")

    def close(self) -> None:
        """Lets go of Kafka."""
        if self._consumer is not None:
            self._consumer.close()


def _consumer(config: KafkaConfig) -> Consumer:
    with translated():
        return Consumer(
            client_properties(config)
            | {
                "group.id": "assay-reading",  # asked for by librdkafka; it is never joined
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": 32 << 10,
                "fetch.queue.backoff.ms": 5,
            }
        )
