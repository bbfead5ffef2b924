"""Books that classifiers keep on topics, read outside of a group."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeAlias

import polars as pl
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from assay.domain.errors import Unreadable
from assay.domain.position import Partition, Position
from assay.wire.envelope import GROUP
from assay.wire.ledger import Entry, book, decode
from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.errors import error_of, translated
from assay_adapters.kafka.reading import is_letter, letters_among, newest
from assay_adapters.kafka.topics import Topics

_CALL = 1_000  # messages of one call
_LONGEST = 255  # characters of a group's name
_OF_CLASSIFIERS = {"partition": r"^[0-9]{1,10}$", "code": r"^[a-z][a-z0-9_]{0,63}$"}

Place: TypeAlias = tuple[str, Partition]
"""A topic, and a partition of it."""


def newest_entries(config: KafkaConfig, topic: str) -> list[tuple[Entry, datetime]]:
    """The latest entries on a topic of ledgers and when they came there, the newest first.

    What is none is passed over.

    Args:
        config: how Kafka is reached.
        topic: its name.

    Raises:
        Unavailable: Kafka is away.
        Fatal: there is no such topic, or it may not be read.
    """
    found: list[tuple[Entry, datetime]] = []
    for each in newest(config, topic):
        with suppress(Unreadable):
            found.append(_entry(each))
    return found


@dataclass(frozen=True)
class Published:
    """What was on the topics, one after the other.

    Attributes:
        letters: of the source, shaped as `LETTERS`, and in `books` their book, as entries have it.
        entries: of its classifiers, each with the time when it came there.
        faults: what is neither, and where.
        after: where each partition goes on after all this.
    """

    letters: pl.DataFrame
    entries: list[tuple[Entry, datetime]]
    faults: list[str]
    after: dict[Place, Position]


class KafkaBooks:
    """Ledger entries and letters of the classifiers of a topic, in the order of each partition.

    Whoever keeps them keeps where they end, too, and begins there the next time. Several at once
    get the same. Only committed messages of transactions are read. Partitions that are added later
    are found at the next start. Used from one thread.
    """

    def __init__(
        self,
        config: KafkaConfig,
        name: str,
        source: str,
        *,
        entries: str,
        letters: str,
        stand: Mapping[Place, Position],
    ) -> None:
        """Connects.

        Args:
            config: how Kafka is reached.
            name: for those who watch the brokers.
            source: of the entries and letters, `kafka/` and the topic; those of others are left
                out.
            entries: a topic of ledgers.
            letters: a topic of dead letters.
            stand: where each partition of theirs goes on; others, and those of topics that were
                made anew, from their beginning.

        Raises:
            Unavailable: Kafka is away.
            Fatal: a property is wrong, or a topic is not there.
        """
        self._source, self._letters = source, letters
        topics = Topics(config)
        known = [topics.named(each) for each in (entries, letters)]
        self._ids = {each.name: each.id for each in known}
        begins = [
            TopicPartition(each.name, number, _begin(stand.get((each.name, str(number))), each.id))
            for each in known
            for number in each.partitions
        ]
        self._left = {(each.topic, each.partition) for each in begins}
        with translated():
            self._consumer = Consumer(
                client_properties(config)
                | {
                    "group.id": name,
                    "enable.auto.commit": False,
                    "auto.offset.reset": "earliest",
                    "isolation.level": "read_committed",
                    "enable.partition.eof": True,
                    "queued.max.messages.kbytes": 16 << 10,
                }
            )
            self._consumer.assign(begins)

    @property
    def is_at_end(self) -> bool:
        """Whether the end of each partition was reached, as far as is known."""
        return not self._left

    def take(self, seconds: float) -> Published | None:
        """What comes within this time; None if nothing does.

        Raises:
            Unavailable: Kafka is away.
            Fatal: a topic is not there, or may not be read.
        """
        with translated():
            came = self._consumer.consume(_CALL, seconds)
        messages: list[Message] = []
        for each in came:
            at, error = (each.topic() or "", each.partition() or 0), each.error()
            if error is None:
                self._left.add(at)
                messages.append(each)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                self._left.discard(at)
            else:
                raise error_of(error)
        return self._published(messages) if messages else None

    def _published(self, messages: list[Message]) -> Published:
        entries: list[tuple[Entry, datetime]] = []
        letters, faults = _letters([each for each in messages if each.topic() == self._letters])
        for each in messages:
            try:
                if each.topic() != self._letters:
                    entries.append(_entry(each))
            except Unreadable as error:
                faults.append(str(error))
        own = [(entry, at) for entry, at in entries if entry.source == self._source]
        return Published(
            letters.filter(source=self._source),
            [(entry, at) for entry, at in own if entry.predictions is not None],
            faults,
            self._after(messages),
        )

    def _after(self, messages: Iterable[Message]) -> dict[Place, Position]:
        return {
            (topic, str(each.partition())): Position(
                (each.offset() or 0) + 1, numbering=self._ids[topic]
            )
            for each in messages
            if (topic := each.topic()) is not None
        }

    def close(self) -> None:
        """Closes the connections."""
        self._consumer.close()


def _group_of(message: Message) -> str | None:
    headers: Any = message.headers() or ()  # pairs of names and bytes
    found: bytes | None = dict(headers).get(GROUP)
    return None if found is None else found.decode(errors="replace")


def _letters(messages: Sequence[Message]) -> tuple[pl.DataFrame, list[str]]:
    """Classifiers' letters, each in the book of its group, and what is none though it says so.

    A letter of no group is of books in tables, and left out.
    """
    grouped = [
        (each, group)
        for each in messages
        if is_letter(each) and (group := _group_of(each)) is not None
    ]
    try:
        letters = letters_among(each for each, _ in grouped)
    except Unreadable as error:
        if len(grouped) == 1:
            none, _ = _letters([])
            return none, [str(error)]
        single = [_letters([each]) for each, _ in grouped]
        return pl.concat(found for found, _ in single), [
            one for _, faults in single for one in faults
        ]
    groups = [group for _, group in grouped]
    books = pl.Series(map(book, groups, letters["topic_id"]), dtype=pl.String)
    is_one = pl.all_horizontal(
        pl.Series(groups, dtype=pl.String).str.len_chars() <= _LONGEST,
        *(pl.col(name).str.contains(pattern) for name, pattern in _OF_CLASSIFIERS.items()),
    )
    marked = letters.with_columns(books=books, is_one=is_one.fill_null(value=False))
    what = "a letter names no partition of a topic, no code, or no group"
    odd: list[int] = (~marked["is_one"]).arg_true().to_list()
    return marked.filter("is_one").drop("is_one"), [
        f"{_where(grouped[row][0])}: {what}" for row in odd
    ]


def _where(message: Message) -> str:
    return f"{message.topic()}/{message.partition()}@{message.offset()}"


def _entry(message: Message) -> tuple[Entry, datetime]:
    value = message.value()
    try:
        entry = decode(value.encode() if isinstance(value, str) else value)
    except Unreadable as error:
        raise Unreadable(f"{_where(message)}: {error}") from None
    return entry, datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)


def _begin(stands: Position | None, topic_id: str | None) -> int:
    is_known = stands is not None and stands.numbering in {None, topic_id}
    return stands.next if stands is not None and is_known else OFFSET_BEGINNING
