"""A transaction of Kafka: messages and a group's offsets, all at once or not at all."""

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from threading import Thread
from typing import Any, Final, Protocol, TypeAlias

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka import Message as KafkaMessage

from assay.domain.errors import AssayError, Fatal, Unavailable
from assay.domain.position import Partition
from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.errors import error_of, translated

Message: TypeAlias = dict[str, Any]
"""What `Producer.produce` takes besides the topic."""

Messages: TypeAlias = Iterable[tuple[str, Sequence[Message]]]
"""Topics, and what is put there."""

_POLL: Final = 0.05  # seconds
_STEP: Final = 10.0  # seconds that a step is waited for
_GRACE: Final = 1.0  # seconds after that in which librdkafka says itself that there is no answer
_PROPERTIES: Final = {
    "compression.type": "lz4",  # with zstd a classifier took an eighth longer
    "linger.ms": 5,
    "batch.size": 1 << 20,
    "message.max.bytes": 16 << 20,
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 256 << 10,
    # What a dead process has left open holds up readers, and its successor, for so long.
    "transaction.timeout.ms": 30_000,
}
_RELIED_ON: Final = {"delivery.report.only.error": True}
"""What no setting changes: each report costs as much as its message."""
_LOST: Final = frozenset(
    {
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.FENCED_INSTANCE_ID,
        KafkaError.REBALANCE_IN_PROGRESS,
    }
)
"""What is said to a consumer that has lost its place in the group."""
_TAKEN_BACK: Final = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})  # noqa: SLF001 - librdkafka's own names
_TOO_LARGE: Final = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE})


class Member(Protocol):
    """A consumer of the group whose offsets are moved."""

    @property
    def assigned(self) -> Collection[Partition]:
        """The partitions that it owns."""
        ...

    def membership(self) -> object:
        """Its place in the group just now."""
        ...


class Outsider:
    """Moves the offsets of a group as none of its members: see first that it has none."""

    def __init__(self, config: KafkaConfig, group: str, assigned: Collection[Partition]) -> None:
        """Connects.

        Args:
            config: how Kafka is reached.
            group: whose offsets are moved.
            assigned: the partitions whose offsets may be moved.

        Raises:
            Fatal: a property is wrong.
        """
        self.assigned = assigned
        with translated():
            self._consumer = Consumer(client_properties(config) | {"group.id": group})

    def membership(self) -> object:
        """No place in the group, with which brokers take offsets whoever its members are."""
        return self._consumer.consumer_group_metadata()

    def close(self) -> None:
        """Closes the connection."""
        self._consumer.close()


class LostPlace(Exception):
    """The consumer has lost its place in the group: what it has read is another's."""


class _NoAnswer(Exception):
    """Offsets are neither taken nor refused."""


class Atomic:
    """Transactions of a producer, one after another.

    Whoever opens one under the same name ends what was left open, and commits nothing any more
    himself once another has. Used from one thread at a time.
    """

    def __init__(self, config: KafkaConfig, name: str) -> None:
        """Connects at the first transaction.

        Args:
            config: how Kafka is reached.
            name: the transactional id.

        Raises:
            Fatal: a property is wrong.
        """
        self._refused: list[tuple[KafkaError, str]] = []  # what brokers said of a topic's message
        own = {"transactional.id": name, "on_delivery": _noted_in(self._refused)}
        self._properties = _PROPERTIES | client_properties(config) | _RELIED_ON | own
        self._producer: Any = None  # its stubs are partial
        self.is_under_way = False

    @property
    def is_open(self) -> bool:
        """Whether it has connected."""
        return self._producer is not None

    def open(self) -> None:
        """From here on nobody else commits under the name, unless he opens it in turn.

        Raises:
            Unavailable: Kafka is away.
            Fatal: this user may not use the name, or a property is wrong.
        """
        if self._producer is None:
            with translated():
                producer = Producer(self._properties)
                producer.init_transactions(_STEP)
            self._producer = producer

    def put(
        self, messages: Messages, offsets: Sequence[TopicPartition], membership: object
    ) -> None:
        """Begins a transaction, puts messages into it and moves offsets; `conclude` commits it.

        Args:
            messages: by topic.
            offsets: of the group, with their topics.
            membership: of a consumer of the group.

        Raises:
            LostPlace: the consumer's place is not that one any more.
            Unavailable: Kafka is away.
            Fatal: it does not help to try again.
        """
        self.open()
        self._refused.clear()
        try:
            self._producer.begin_transaction()
            for topic, some in messages:
                self._hand_over(topic, some)
            self._move(offsets, membership)
        except KafkaException as error:
            raise self._given_up(error.args[0]) from None
        except _NoAnswer:
            self._producer = None  # which the thread keeps: to close it would wait, too
            raise Unavailable("Kafka is away: it does not take offsets") from None
        except BaseException:
            self._abort()
            raise
        self.is_under_way = True

    def conclude(self) -> None:
        """Commits what is under way, or finds out that it was.

        Raises:
            LostPlace, Fatal: it is not committed.
            Unavailable: it is not, or that is not known yet: then it is still under way.
        """
        if not self.is_under_way:
            return
        try:
            self._producer.commit_transaction(_STEP)
        except KafkaException as error:
            found: KafkaError = error.args[0]
            if found.retriable() and not (found.txn_requires_abort() or found.fatal()):
                raise Unavailable(
                    f"Kafka is away: a transaction is under way ({found.name()})"
                ) from None
            self.is_under_way = False
            raise self._given_up(found) from None
        self.is_under_way = False

    def close(self) -> None:
        """Takes back what is under way."""
        if self._producer is not None:
            self._abort()
        self._drop()

    def _move(self, offsets: Sequence[TopicPartition], membership: object) -> None:
        """Moves offsets, in a thread that is left alone if librdkafka does not come back in time.

        It waits for ever, whatever it is told, for a coordinator that has been away
        (https://github.com/confluentinc/librdkafka/issues/5456 and 5511).
        """
        send, answer = self._producer.send_offsets_to_transaction, Future[None]()

        def act() -> None:
            try:
                answer.set_result(send(list(offsets), membership, _STEP))
            except BaseException as error:  # noqa: BLE001 - raised again by whoever waits
                answer.set_exception(error)

        Thread(target=act, name="offsets", daemon=True).start()
        if not wait([answer], _STEP + _GRACE).done:
            raise _NoAnswer
        answer.result()

    # ---------------------------------------------------------------- messages

    def _hand_over(self, topic: str, messages: Sequence[Message]) -> None:
        """Hands messages to librdkafka; waits where it has no room."""
        if messages and "headers" in messages[0]:  # which it takes with single messages only
            for each in messages:
                self._hand_over_one(topic, each)
            return
        rest = list(messages)
        while rest:
            self._producer.produce_batch(topic, rest)
            self._producer.poll(0)
            errors = [each.pop("_error", None) for each in rest]
            for error in errors:
                if error is not None and error.code() != KafkaError._QUEUE_FULL:  # noqa: SLF001 - librdkafka's own name
                    raise KafkaException(error)
            rest = [each for each, error in zip(rest, errors, strict=True) if error is not None]
            if rest:
                self._producer.poll(_POLL)

    def _hand_over_one(self, topic: str, message: Message) -> None:
        while True:
            try:
                self._producer.produce(topic, **message)
            except BufferError:
                self._producer.poll(_POLL)
            else:
                return

    # ---------------------------------------------------------------- the end of it

    def _given_up(self, error: KafkaError) -> AssayError | LostPlace:
        """Takes a transaction back, and says what its error means."""
        if error.fatal():
            self._drop()
        else:
            self._abort()
        # Told by now, if any message was.
        refused, topic = self._refused[0] if self._refused else (error, "")
        if error.code() in _LOST:
            return LostPlace()
        if refused.code() in _TOO_LARGE:
            return Fatal(
                f"the topic {topic} does not take a message that is too large for it:"
                " raise its max.message.bytes"
            )
        if error.fatal():
            # After a long outage the brokers have ended what was open: another producer may go on.
            return Unavailable(f"Kafka broke off a transaction ({error.name()})")
        return error_of(refused)

    def _abort(self) -> None:
        """Takes back what is on the topics; where that cannot be, another producer does."""
        self.is_under_way = False
        try:
            self._producer.abort_transaction(_STEP)
        except KafkaException:
            self._drop()

    def _drop(self) -> None:
        """The next transaction gets another producer, which ends what this one has left open."""
        if self._producer is not None:
            with suppress(KafkaException):
                self._producer.purge()
                self._producer.flush(_POLL)
        self._producer = None


def _noted_in(
    refused: list[tuple[KafkaError, str]],
) -> Callable[[KafkaError | None, KafkaMessage], None]:
    """A callback that keeps what ends a transaction, which says less about it.

    It knows nothing of the producer: one that is part of a cycle has made Python's garbage
    collector crash (https://github.com/confluentinc/confluent-kafka-python/issues/1761).
    """

    def note(error: KafkaError | None, message: KafkaMessage) -> None:
        if error is not None and error.code() not in _TAKEN_BACK:
            refused.append((error, message.topic() or ""))

    return note
