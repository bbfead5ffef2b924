"""A topic as a source: each message is a record, its offset the position."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from threading import Thread
from typing import Any, Final, Literal, TypeAlias

from confluent_kafka import (
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from assay.domain.chunk import Chunk, Idle, Revoked
from assay.domain.errors import AssayError, Fatal, Unavailable
from assay.domain.position import Partition, Position, Positions
from assay.domain.reject import RAW_LIMIT
from assay.ports.source import AskPositions, Drain, no_drain
from assay_adapters.kafka.chunks import Held, Owned, cut
from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.errors import NO_TOPIC, error_of, no_topic, translated
from assay_adapters.kafka.headers import traced
from assay_adapters.kafka.survey import Standing, Survey, standing
from assay_adapters.kafka.topics import Topic, Topics

Begin: TypeAlias = Callable[[Positions], None]

_CALL: Final = 5_000  # messages of one call; more at once are no quicker
_FIRST: Final = 16  # of the first call for a chunk
_MOMENT: Final = 0.001  # seconds; librdkafka counts in thousandths, and less is no wait
_HOLD: Final = 1.0  # seconds of a pause after which the brokers are told, which costs a new fetch
_LOOK: Final = 1.0  # seconds between two looks at whether the topic is still the same
_GONE: Final = {
    KafkaError._AUTO_OFFSET_RESET,  # noqa: SLF001 - librdkafka's own name
    KafkaError.OFFSET_OUT_OF_RANGE,
}
_PROBE: Final = 0.5  # seconds for a broker to answer after one was not to be reached
_ASK: Final = 5.0  # seconds for the brokers to say how the topic stands
_CLOSE: Final = 5.0  # seconds to leave the group in


@dataclass(frozen=True)
class Reading:
    """How a topic is read.

    Attributes:
        topic: its name.
        group: consumers of one group share the topic's partitions.
        start: where a topic begins that was never read.
        instance: a name that this consumer keeps when it is started again, so that a short absence
            moves no partition; None for a stranger each time.
        chunk_records, chunk_bytes, linger: a chunk is cut at so many records or bytes, or so many
            seconds after its first record came.
        queue_bytes: what librdkafka fetches ahead, at most.
        record_bytes: of a longer record its head is handed out.
        follow: whether the group's committed offsets follow each ack. Not where a transaction of
            Kafka moves them.
        is_traced: whether the headers of messages are looked at for their senders' traces.
        tick: seconds that an event takes at most.
    """

    topic: str
    group: str
    start: Literal["earliest", "latest"] = "earliest"
    instance: str | None = None
    chunk_records: int = 50_000
    chunk_bytes: int = 16 << 20
    linger: float = 0.05
    queue_bytes: int = 32 << 20
    record_bytes: int = RAW_LIMIT
    follow: bool = True
    is_traced: bool = False
    tick: float = 0.1


class KafkaSource:
    """The port `assay.ports.source.Source` on one topic of Apache Kafka, in a consumer group.

    The positions of the store are the truth: partitions are read from there when they are
    assigned, whatever the group's committed offsets say. Those follow each ack for monitors of
    lag, and nothing is read from them. The numbering of positions is the topic's id, so that a
    topic that is made anew under its name is told from the one before: at each assignment, and
    every second in between.

    A partition is named by its number. Only committed messages of transactions are read; their
    markers, and offsets that compaction has taken, are holes in the ranges.
    """

    def __init__(
        self,
        config: KafkaConfig,
        reading: Reading,
        begin: Begin,
        chunk_records: Callable[[], int] | None = None,
    ) -> None:
        """Joins the group at the first event.

        Args:
            config: how brokers are reached.
            reading: how the topic is read.
            begin: enters in the store that reading begins there, unless it has begun. Called before
                anything is read of a topic of which the store has no position; what is deleted
                from then on before it is read is known to be lost.
            chunk_records: how many records a chunk may have just now; None: as `reading` says.

        Raises:
            Fatal: a property is wrong.
        """
        self._begin = begin
        self._reading = reading
        self._chunk_records = chunk_records or (lambda: reading.chunk_records)
        topics = Topics(config, timeout=_ASK)
        group = None if reading.follow else reading.group
        self._standing = Survey(partial(standing, topics, reading.topic, group))
        self._named = Survey(partial(topics.named, reading.topic, is_read=True))
        self._topic: Topic | None = None
        self._looked_at = float("-inf")
        self._doubted: Positions = {}  # were after the end of the topic that was told before
        self._whole: tuple[int, int] | None = None
        self._is_asked = False  # how the whole topic stands
        self._owned: dict[int, Owned] = {}
        self._fetched: set[int] = set()  # what librdkafka takes for assigned
        self._held = Held()
        self._stopped: int | None = None  # the partition whose first range has a given end
        self._within = Held()  # what that range holds
        self._cut: Chunk | None = None  # waits for its proof
        self._traced: dict[tuple[Partition, int], str] = {}  # of what was not handed out yet
        self._revoked: set[Partition] = set()
        self._paused_since: float | None = None
        self._is_still = False  # whether the brokers were told to send nothing
        self._drain: Drain = no_drain
        self._fault: BaseException | None = None  # of a callback
        self._is_suspect = False  # whether brokers may be away
        self._complaint = ""  # the last of a connection
        self._servers = config.bootstrap_servers
        self._has_lost = False  # partitions, since messages were taken last
        self._usual_bytes = 300
        self._is_subscribed = False
        with translated():
            self._consumer = Consumer(
                client_properties(config)
                | {
                    "group.id": reading.group,
                    "enable.auto.commit": False,
                    "enable.auto.offset.store": False,
                    "auto.offset.reset": "error",
                    "partition.assignment.strategy": "cooperative-sticky",
                    "isolation.level": "read_committed",
                    "enable.partition.eof": True,
                    "queued.max.messages.kbytes": max(1, reading.queue_bytes >> 10),
                    "fetch.queue.backoff.ms": 5,  # the default of a second caps the rate
                    "fetch.wait.max.ms": 100,  # a partition that is placed anew waits so long
                    "error_cb": self._on_error,
                }
                | ({"group.instance.id": reading.instance} if reading.instance else {}),
            )

    # ---------------------------------------------------------------- the port

    def events(
        self, positions: AskPositions, drain: Drain = no_drain
    ) -> Iterator[Chunk | Revoked | Idle]:
        """What happens, one event at a time; it never ends.

        Raises:
            Unavailable: no broker can be reached.
            Renumbered: the topic is another one than the one that was read before.
            Fatal: records after the position are gone from the topic, or the topic itself.
        """
        self._drain = drain
        if not self._is_subscribed:
            self._consumer.subscribe(
                [self._reading.topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
            self._is_subscribed = True
        while True:
            self._look()
            self._place(positions)
            self._see_whole(positions)
            self._settle_pause()
            if not self._is_full():
                self._fetch()
            elif self._is_still:
                self._poll(1, 0)  # keeps the place in the group
            if self._revoked:
                gone, self._revoked = frozenset(self._revoked), set()
                yield Revoked(gone)
            elif self._paused_since is None and (chunk := self._proved()) is not None:
                yield chunk
            else:
                if self._is_suspect:
                    self._probe()
                yield Idle()

    def pause(self, on: bool) -> None:  # noqa: FBT001 - as the port has it
        """Hands out no chunk while on."""
        if not on:
            self._paused_since = None
        elif self._paused_since is None:
            self._paused_since = time.monotonic()

    def rewind(self, partitions: Collection[Partition]) -> None:
        """Starts these again from where the store stands."""
        again = [each for each in self._owned if str(each) in partitions]
        self._await_place(again)

    def ack(self, positions: Positions) -> None:
        """These are committed. The group's offsets follow, as soon as Kafka takes them."""
        offsets: list[TopicPartition] = []
        for partition, position in positions.items():
            owned = self._owned.get(int(partition))
            if owned is not None and position.next > owned.acked:
                owned.acked = position.next
                offsets.append(self._at(int(partition), position.next))
        if offsets and self._reading.follow:
            with suppress(KafkaException):  # they are for the eyes of monitors
                self._consumer.commit(offsets=offsets, asynchronous=True)

    # ---------------------------------------------------------------- for those who watch

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions that it owns."""
        return frozenset(map(str, list(self._owned)))  # at once: asked from other threads, too

    @property
    def is_member(self) -> bool:
        """Whether its group has given it a place, be it one without partitions."""
        return bool(self._consumer.memberid())

    def membership(self) -> object:
        """Its place in the group, for a transaction of Kafka that moves the group's offsets."""
        return self._consumer.consumer_group_metadata()

    def lags(self) -> dict[Partition, int]:
        """How many offsets of each partition that it reads are not committed yet, as far as known.

        Markers of transactions and compacted offsets count until they are passed.
        """
        lags: dict[Partition, int] = {}
        for number, owned in self._owned.items():
            if owned.is_at_end and owned.acked == owned.seen:
                lags[str(number)] = 0  # what an open transaction holds back cannot be read yet
            elif owned.is_placed:
                known: Any = self._consumer.get_watermark_offsets(self._at(number), cached=True)
                end = max(owned.end, known[1] if known is not None else 0)
                lags[str(number)] = max(0, end - owned.acked)
        return lags

    def whole(self) -> tuple[int, int] | None:
        """How the topic stands, whoever owns its partitions; for who owns none.

        Returns:
            How many offsets are not committed, and the sum of where the partitions end, as the
            brokers and then the store have told since this was asked last; else None.
        """
        whole, self._whole = self._whole, None
        self._is_asked = True
        return whole

    def close(self) -> None:
        """Leaves the group. What was handed out and not acked is somebody else's.

        Brokers that are away are not waited for longer than a moment: they miss it by themselves.
        """
        self._drain = no_drain
        # Without brokers librdkafka waits for them in there, without end.
        closing = Thread(target=self._consumer.close, name="close", daemon=True)
        closing.start()
        closing.join(_CLOSE)

    # ---------------------------------------------------------------- the group

    def _on_assign(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        # None of them is fetched before it is known where it begins. To begin anywhere meanwhile
        # would not do: the answer to where that is could come late and move the true beginning.
        consumer.incremental_assign([])
        self._await_place([each.partition for each in partitions])

    def _on_revoke(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        try:
            self._drain([str(each.partition) for each in partitions])
        except Exception as error:  # noqa: BLE001 - raised again outside of librdkafka's callback
            self._fault = error
        self._on_lost(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        numbers = [each.partition for each in partitions]
        self._has_lost = True
        self._forget(numbers)
        for each in numbers:
            self._owned.pop(each, None)
        self._revoked.update(map(str, numbers))
        consumer.incremental_unassign([self._at(each) for each in self._fetched & set(numbers)])
        self._fetched.difference_update(numbers)

    def _on_error(self, error: KafkaError) -> None:
        fault = self._meant(error)
        if isinstance(fault, Unavailable):
            # One broker or all of them: that all are down is told once, and may be told before
            # the last messages that they have sent are taken.
            self._is_suspect = True
            if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's own name
                self._complaint = error.str()
        else:
            self._fault = fault

    def _place(self, positions: AskPositions) -> None:
        """Starts the partitions whose beginning is not known yet where the store stands.

        While the brokers have not answered, the store is away, or a partition has no leader, they
        are left for a later time.

        Raises:
            Unavailable: Kafka does not tell, and no other partition is read meanwhile.
        """
        waiting = sorted(
            each for each, owned in self._owned.items() if not (owned.is_placed or owned.is_over)
        )
        if not waiting:
            return
        try:
            found = self._standing.ask(self._reading.tick)
        except Unavailable:
            if any(each.is_placed for each in self._owned.values()):
                return
            raise
        stand = None if found is None else self._stand(positions, found, waiting)
        if found is None or stand is None:
            return
        # Another owner may have committed since the brokers told: they are asked once more.
        doubted, self._doubted = self._doubted, found.exceeded(stand, waiting)
        if self._doubted and self._doubted != doubted:
            return
        self._topic = found.topic
        for each in waiting:
            position = stand.get(str(each), found.beginning)
            if position.end == "finished":
                self._owned[each] = Owned(is_over=True)
            elif each in found.bounds:
                self._read(each, position, found)

    def _see_whole(self, positions: AskPositions) -> None:
        """Finds out how the whole topic stands, if that is asked and no partition is owned.

        Raises:
            Unavailable: Kafka does not tell.
        """
        if self._owned or not self._is_asked:
            return
        if (found := self._standing.ask(0)) is None:
            return
        self._is_asked = False
        with suppress(Unavailable):  # of the store, which whoever is asked knows
            stand = positions([str(each) for each in found.topic.partitions])
            if (left := found.left(stand)) is not None:
                self._whole = left, sum(after for _, after in found.bounds.values())

    def _stand(
        self, positions: AskPositions, found: Standing, waiting: Collection[int]
    ) -> Positions | None:
        """The positions of the topic; None where the store cannot say yet.

        Of all partitions: where none has one, all that have a leader are begun at once.
        """
        asked = [str(each) for each in sorted({*found.topic.partitions, *waiting})]
        try:
            stand = positions(asked)
            if stand:
                return stand
            is_late = self._reading.start == "latest"
            if is_late and not found.is_whole:
                return None  # else a partition that has a leader later would begin at its beginning
            self._begin(found.ends if is_late else found.firsts)
            return positions(asked)
        except Unavailable:
            return None

    def _read(self, partition: int, position: Position, found: Standing) -> None:
        """Reads a partition from its position."""
        _, after = found.bounds[partition]
        at = found.checked(partition, position)
        if position.stop is not None:
            if self._stopped is not None:
                return  # one after another: what they hold at once is bounded
            self._stopped = partition
        self._fetch_from(partition, at)
        self._owned[partition] = Owned(
            at, seen=at, acked=at, end=after, numbering=found.topic.id, stop=position.stop
        )

    def _fetch_from(self, partition: int, offset: int) -> None:
        with translated():
            if partition in self._fetched:
                self._consumer.incremental_unassign([self._at(partition)])
            self._consumer.incremental_assign([self._at(partition, offset)])
            self._fetched.add(partition)
            (self._consumer.pause if self._is_still else self._consumer.resume)(
                [self._at(partition)]
            )

    def _look(self) -> None:
        """Notices, now and then, that the topic has been made anew meanwhile, or nobody answers."""
        if self._topic is None or time.monotonic() < self._looked_at + _LOOK:
            return
        try:
            self._is_same(0)
        except Unavailable:
            # Of a broker that hangs librdkafka says nothing for a minute or more.
            self._looked_at, self._is_suspect = time.monotonic(), True

    def _is_same(self, patience: float) -> bool:
        """Whether the topic is still the one that was placed; else all of it is placed anew.

        False also where nobody has said so yet.

        Raises:
            Unavailable: Kafka does not tell.
            Fatal: the topic is gone.
        """
        topic = self._named.ask(patience)
        if topic is None or self._topic is None:
            return False
        self._looked_at = time.monotonic()
        if topic.id == self._topic.id:
            return True
        self._restart(self._owned)
        return False

    def _restart(self, numbers: Collection[int]) -> None:
        """The store is asked about these again; what is in the window of them is void."""
        gone = {str(each) for each in numbers}
        self._revoked |= gone
        self.rewind(gone)

    def _await_place(self, numbers: Collection[int]) -> None:
        """These are read from where the store stands, as soon as it and the brokers have told."""
        self._owned.update({each: Owned() for each in numbers})
        self._forget(numbers)
        self._standing.forget()
        self._whole, self._is_asked = None, False

    def _settle_pause(self) -> None:
        """Tells the brokers of a pause that lasts, and of its end."""
        since = self._paused_since
        still = since is not None and self._is_full() and time.monotonic() > since + _HOLD
        if still == self._is_still:
            return
        placed = [self._at(each) for each, owned in self._owned.items() if owned.is_placed]
        with translated():
            (self._consumer.pause if still else self._consumer.resume)(placed)
        self._is_still = still

    # ---------------------------------------------------------------- messages

    def _is_full(self) -> bool:
        held = self._held
        return held.records >= self._chunk_records() or held.size >= self._reading.chunk_bytes

    def _fetch(self) -> None:
        """Takes what has come, as much as a chunk has room for, a tick long at most."""
        until = time.monotonic() + self._reading.tick
        while not (self._is_full() or self._revoked):
            held, reading = self._held, self._reading
            # No more than twice of what is held: what comes may be larger than what came before.
            records = min(_CALL, max(_FIRST, held.records))
            records = min(records, self._chunk_records() - held.records)
            usual = max(1, self._usual_bytes, held.size // max(1, held.records))
            size = (reading.chunk_bytes - held.size) // usual
            most = max(1, min(records, size))
            if self._poll(most, self._patience()) < most or time.monotonic() >= until:
                return

    def _patience(self) -> float:
        """Seconds to wait for messages: what is left of the linger, if something is held.

        None while others wait for what is under way.
        """
        is_busy = self._paused_since is not None or any(
            each.is_under_way for each in self._owned.values()
        )
        if is_busy:
            return 0
        tick = self._reading.tick
        if not self._held.records:
            return tick
        left = self._held.since + self._reading.linger - time.monotonic()
        return min(tick, max(_MOMENT, left))

    def _poll(self, most: int, timeout: float) -> int:
        """Takes up to so many messages, and lets the group's callbacks happen.

        Returns:
            How many came.
        """
        with translated():
            messages = self._consumer.consume(most, timeout)
        # Before anything is raised: what has come does not come again.
        self._take(messages)
        if (fault := self._fault) is not None:
            self._fault = None
            raise fault
        if any(each.error() is None or _is_end(each) for each in messages):
            self._is_suspect = False
        return len(messages)

    def _probe(self) -> None:
        """That a broker answers, which ends the suspicion that none does.

        Raises:
            Unavailable: none does; it says where they were looked for, and what came of it.
        """
        try:
            with translated():
                self._consumer.list_topics(self._reading.topic, timeout=_PROBE)
        except Unavailable as error:
            told = [str(error), f"ASSAY_KAFKA__BOOTSTRAP_SERVERS is {self._servers}"]
            if self._complaint:
                told.append(f"the last of the connections: {self._complaint}")
            raise Unavailable("; ".join(told)) from None
        self._is_suspect, self._complaint = False, ""

    def _take(self, messages: list[Message]) -> None:
        """Holds what came of the partitions that are read."""
        told = [(each, error) for each in messages if (error := each.error()) is not None]
        for message, error in told:
            self._heed(message, error)
        # What came last says whether it is the end: one call may bring messages and the end after
        # them, which is not told again, or an end and messages that have come since.
        for number, last in {each.partition(): each for each in messages}.items():
            owned = None if number is None else self._owned.get(number)
            if owned is not None and owned.is_placed:
                owned.is_at_end = _is_end(last)
        if self._reading.is_traced:
            self._traced |= traced(messages)
        # A call may bring messages of a partition that is lost before it returns.
        has_lost, self._has_lost = self._has_lost, False
        if told or has_lost or not all(each.is_placed for each in self._owned.values()):
            read = {number for number, owned in self._owned.items() if owned.is_placed}
            messages = [
                each for each in messages if each.error() is None and each.partition() in read
            ]
        self._held.add(messages if self._stopped is None else self._apart(messages))

    def _apart(self, messages: list[Message]) -> list[Message]:
        """Holds those apart whose range has a given end; returns those of other partitions."""
        own = [each for each in messages if each.partition() == self._stopped]
        if own and self._stopped is not None:
            owned = self._owned[self._stopped]
            offsets = [each.offset() or 0 for each in own]
            owned.seen = max(owned.seen, offsets[-1] + 1)
            self._within.add(
                [
                    message
                    for message, offset in zip(own, offsets, strict=True)
                    if owned.stop is None or offset < owned.stop
                ]
            )
        return [each for each in messages if each.partition() != self._stopped]

    def _heed(self, message: Message, error: KafkaError) -> None:
        number = message.partition()
        owned = None if number is None else self._owned.get(number)
        if _is_end(message):
            if owned is not None and owned.is_placed:
                owned.seen = max(owned.seen, message.offset() or 0)
        elif error.code() in _GONE and number is not None:
            # Placed anew, the topic's bounds say what has become of it.
            self._restart({number})
        elif isinstance(fault := self._meant(error), Fatal):
            raise fault

    def _meant(self, error: KafkaError) -> AssayError:
        if error.code() in NO_TOPIC:
            return no_topic(self._reading.topic, is_read=True)
        return error_of(error)

    def _proved(self) -> Chunk | None:
        """The next chunk, once it is known that the topic was not made anew before it came.

        A message does not say which topic of a name it is of. Offsets of one would else be
        committed as those of another, and read again under their own.
        """
        if self._cut is None:
            if (cut := self._chunk()) is None:
                return None
            self._cut = cut
            self._named.forget()
        if not self._is_same(self._reading.tick):
            return None
        chunk, self._cut = self._cut, None
        return self._with_traces(chunk) if self._traced else chunk

    def _with_traces(self, chunk: Chunk) -> Chunk:
        """A chunk with what its messages' senders trace; of what was read before, nothing stays."""
        next_ = {each.partition: each.next for each in chunk.ranges}
        own = {at: each for at, each in self._traced.items() if at[1] < next_.get(at[0], 0)}
        for at in own:
            del self._traced[at]
        first = {each.partition: each.first for each in chunk.ranges}
        return replace(
            chunk, traced={at: each for at, each in own.items() if at[1] >= first[at[0]]}
        )

    def _chunk(self) -> Chunk | None:
        """What is held, if it is time, or the holes at a partition's end if there is nothing."""
        if self._stopped is not None and self._owned[self._stopped].is_whole:
            return self._first_range(self._stopped)
        held, now = self._held, time.monotonic()
        free = {number: each for number, each in self._owned.items() if number != self._stopped}
        if held.records:
            if not self._is_full() and now < held.since + self._reading.linger:
                return None
        elif not any(each.has_holes for each in free.values()):
            return None
        self._held = Held()
        if held.records:
            self._usual_bytes = held.size // held.records
        return cut(held.frame(self._reading.record_bytes), free)

    def _first_range(self, number: int) -> Chunk:
        """The range whose end is given. What has come beyond it is fetched once more."""
        owned, within = self._owned[number], self._within
        if owned.stop is None:
            raise AssertionError("no end is given")
        self._fetch_from(number, owned.stop)
        owned.seen, owned.stop, owned.is_at_end = owned.stop, None, False
        self._stopped, self._within = None, Held()
        return cut(within.frame(self._reading.record_bytes), {number: owned})

    def _forget(self, numbers: Collection[int]) -> None:
        """Drops what is held of these."""
        gone = {str(each) for each in numbers}
        self._traced = {at: each for at, each in self._traced.items() if at[0] not in gone}
        self._held = self._held.without(numbers)
        if self._stopped in numbers:
            self._stopped, self._within = None, Held()
        if self._cut is not None:
            rest = self._cut.without(gone)
            self._cut = rest if rest.ranges else None

    def _at(self, partition: int, offset: int = OFFSET_INVALID) -> TopicPartition:
        return TopicPartition(self._reading.topic, partition, offset)


def _is_end(message: Message) -> bool:
    """Whether it says that a partition's end is reached."""
    error = message.error()
    return error is not None and error.code() == KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's own name
