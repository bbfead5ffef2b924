"""Publishes dead letters on a topic."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Report

from assay.domain.errors import NotTaken, Unavailable
from assay.ports.letters import Claim
from assay.wire.envelope import Message, letters_to_messages, with_head_only
from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.errors import error_of, translated
from assay_adapters.kafka.topics import Topics

PREFIX: Final = "kafka:"
"""Destinations of letters that go to a topic are this and its name."""

LARGEST: Final = 2 << 20
"""Bytes that a dead-letter topic should take in a message: a letter of 1 MiB, key and headers."""

HEADS: Final = (64 << 10, 1 << 10)
"""Bytes that are tried of a message's parts where brokers take no larger one."""

_Key: TypeAlias = tuple[bytes, int]
"""Which message: its digest, and which one of those that are equal."""

_POLL: Final = 0.05  # seconds
_KEPT: Final = 8  # claims of a topic whose letters are remembered
_REFUSED: Final = 100  # letters of a claim that are refused as heads until no more are tried
_PROPERTIES: Final = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "zstd",
    "linger.ms": 5,
    # A letter has up to 1 MiB, its key and headers besides; what is larger the brokers may judge.
    "message.max.bytes": 16 << 20,
    "batch.size": 1_000_000,
}
_RELIED_ON: Final = {
    # Never given up: a message that may have been written already must not be written once more.
    "message.timeout.ms": 0,
    "delivery.timeout.ms": 0,  # another name of the same
}
"""What no setting changes."""
_TOO_LARGE: Final = KafkaError.MSG_SIZE_TOO_LARGE
_MAKES: Final = "`assay stream topics` makes it"
_AWAY: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001 - librdkafka's own name
        # Of messages that had a partition of a topic that is gone, or has fewer now.
        KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001 - the same
    }
)
"""What is said of a topic that was deleted: it may be made anew at any time."""
_BROKEN_OFF: Final = frozenset(
    {
        KafkaError._FATAL,  # noqa: SLF001 - librdkafka's own name
        KafkaError._PURGE_INFLIGHT,  # noqa: SLF001 - the same
        KafkaError._PURGE_QUEUE,  # noqa: SLF001 - the same
    }
)
"""What is said of messages whose producer can send nothing more."""


@dataclass
class _Sending:
    """What has become of a claim's letters so far.

    Attributes:
        waiting: handed over, neither delivered nor failed.
        delivered: they are on the topic.
        failed: for which reason others are not.
    """

    waiting: set[_Key] = field(default_factory=set[_Key])
    delivered: set[_Key] = field(default_factory=set[_Key])
    failed: dict[_Key, KafkaError] = field(default_factory=dict[_Key, KafkaError])

    def note(self, key: _Key, error: KafkaError | None) -> None:
        """A letter was delivered, or has failed."""
        self.waiting.discard(key)
        if error is None:
            self.delivered.add(key)
        else:
            self.failed[key] = error


class KafkaLetters:
    """A `Publisher`: each letter is a message, see `assay.wire.envelope`.

    A claim is published once all replicas in sync have all its letters. One that is published again
    by the same object after `Unavailable` goes on where it was, so that nothing is on the topic
    twice unless a process has ended in between, or Kafka gave the producer up; each message has its
    letter's id as a header. The same holds of one whose stamp failed.

    Of a letter that is larger than the brokers take, the head is published, with the length and the
    sha256 of the whole; one of which they take not even that holds up no other. Used from one
    thread.
    """

    def __init__(self, config: KafkaConfig, *, patience: float = 5.0) -> None:
        """Connects at the first claim.

        Args:
            config: how Kafka is reached.
            patience: seconds that a claim may take until Kafka counts as away.

        Raises:
            Fatal: a property is wrong.
        """
        self._config = config
        self._patience = patience
        self._properties = _PROPERTIES | client_properties(config) | _RELIED_ON
        self._topics = Topics(config)
        self._known: set[str] = set()
        self._producer: Any = None  # its stubs are partial
        self._sending: dict[str, dict[str, _Sending]] = {}  # by topic and claim

    def publish(self, claim: Claim) -> str:
        """Publishes all letters of a claim; returns where.

        Raises:
            NotTaken: the topic does not take even the heads of some; all others are there.
            Unavailable: Kafka is away, or there is no such topic; try again later.
            Fatal: this user may not write there.
        """
        place: str = claim.letters["destination"].unique().item()
        topic = place.removeprefix(PREFIX)
        self._require(topic)
        messages = _keyed(letters_to_messages(claim.letters))
        sending = self._remembered(topic, claim.name)
        until = time.monotonic() + self._patience
        self._send(topic, messages, sending)
        self._wait(topic, sending, until)
        rows = {key: row for row, key in enumerate(messages)}
        refused: list[int] = []
        for key, error in list(sending.failed.items()):
            if key not in messages:  # its letter was tried again meanwhile, and is not to be sent
                del sending.failed[key]
            elif error.code() != _TOO_LARGE:
                self._fail(topic, error)
            else:
                may_be_taken = len(refused) < _REFUSED  # a topic may take nothing at all
                if not (may_be_taken and self._send_head(topic, key, messages[key], sending)):
                    refused.append(rows[key])
        if refused:
            raise NotTaken(
                f"the topic {topic} takes not even the head of {len(refused):,} dead letters: raise"
                " its max.message.bytes",
                place,
                refused,
            )
        return place

    def close(self) -> None:
        """Gives up what is under way."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(_POLL)

    def _remembered(self, topic: str, name: str) -> _Sending:
        """What became of a claim so far: it comes again where it failed, or its stamp did.

        That is before the next ones of its topic, so that older ones can be forgotten, unless they
        are under way still.
        """
        claims = self._sending.setdefault(topic, {})
        claims[name] = claims.pop(name, None) or _Sending()
        for each in list(claims)[:-_KEPT]:
            if not claims[each].waiting:
                del claims[each]
        return claims[name]

    def _require(self, topic: str) -> None:
        # Brokers may make a topic that they are asked about, with a limit that is too small.
        if topic in self._known:
            return
        if self._topics.find(topic) is None:
            raise Unavailable(f"there is no topic {topic}: {_MAKES}")
        self._known.add(topic)

    def _send(self, topic: str, messages: Mapping[_Key, Message], sending: _Sending) -> None:
        """Hands over what was not yet."""
        for key, message in messages.items():
            if key not in sending.waiting and key not in sending.delivered:
                self._hand_over(topic, key, message, sending)

    def _send_head(self, topic: str, key: _Key, message: Message, sending: _Sending) -> bool:
        """Sends a letter that was refused as too large; returns whether the topic takes any of it.

        Alone, since brokers refuse a whole batch for one that is too large, then less and less.
        """
        until = time.monotonic() + self._patience
        for each in (message, *(with_head_only(message, size) for size in HEADS)):
            self._hand_over(topic, key, each, sending)
            self._wait(topic, sending, until)
            error = sending.failed.pop(key, None)
            if error is None:
                return True
            if error.code() != _TOO_LARGE:
                self._fail(topic, error)
        return False

    def _hand_over(self, topic: str, key: _Key, message: Message, sending: _Sending) -> None:
        if self._producer is None:
            with translated():
                self._producer = Producer(self._properties)
        sending.waiting.add(key)
        sending.failed.pop(key, None)

        def told(error: KafkaError | None, _: Report) -> None:
            sending.note(key, error)

        try:
            self._producer.produce(
                topic,
                key=message.key,
                value=message.value,
                headers=list(message.headers),
                on_delivery=told,
            )
        except BufferError:
            sending.waiting.discard(key)
            raise Unavailable("Kafka takes no more messages") from None
        except KafkaException as error:
            sending.note(key, error.args[0])

    def _wait(self, topic: str, sending: _Sending, until: float) -> None:
        """Until all is delivered or has failed.

        Raises:
            Unavailable: it takes too long, or the producer can send nothing more.
        """
        while sending.waiting:
            try:
                self._producer.poll(_POLL)
            except KafkaException as error:
                self._fail(topic, error.args[0])
            if sending.waiting and time.monotonic() >= until:
                number = len(sending.waiting)
                raise Unavailable(
                    f"Kafka or the topic {topic} is away: {number:,} dead letters are under way"
                )

    def _fail(self, topic: str, error: KafkaError) -> None:
        """Raises what an error means; the next attempt looks at everything anew."""
        self._known.discard(topic)
        meant = error_of(error)
        if error.fatal() or error.code() in _BROKEN_OFF:
            self._drop_producer()
            meant = Unavailable(f"Kafka broke off ({error.name()})")
        if error.code() in _AWAY:
            meant = Unavailable(f"the topic {topic} is away ({error.name()}): {_MAKES}")
        raise meant

    def _drop_producer(self) -> None:
        """The next claim gets another one; no claim waits for what this one has not told.

        What was under way is handed over anew, though it may be on the topic.
        """
        with suppress(KafkaException):
            self.close()  # tells what it knows, of all claims
        self._producer = None
        for claims in self._sending.values():
            for each in claims.values():
                each.waiting.clear()


def _keyed(messages: Iterable[Message]) -> dict[_Key, Message]:
    """Messages by their keys, in the same order.

    An imported letter and one that was rejected here may have one id, even one content, and a claim
    that comes again may lack letters that were tried meanwhile: neither id nor place would do.
    """
    seen = Counter[bytes]()
    found: dict[_Key, Message] = {}
    for each in messages:
        digest = _digest(each)
        found[digest, seen[digest]] = each
        seen[digest] += 1
    return found


def _digest(message: Message) -> bytes:
    found = blake2b(digest_size=16)
    headers = (part for name, value in message.headers for part in (name.encode(), value))
    for part in (message.key, message.value, *headers):
        found.update(b"-" if part is None else b"%d:" % len(part))
        found.update(part or b"")
    return found.digest()
