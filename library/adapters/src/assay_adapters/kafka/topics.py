"""Topics: made, and looked at."""

import time
from collections import deque
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource  # the type's own place
from confluent_kafka.admin._listoffsets import OffsetSpec  # the type's own place
from confluent_kafka.cimpl import NewTopic

from assay.domain.errors import Unavailable
from assay.domain.position import Partition, Position
from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.errors import error_of, no_topic, translated

_TIMEOUT: Final = 10.0
_AS_THE_BROKERS_HAVE_IT: Final[Mapping[str, str]] = {}
_GRACE: Final = 2.0
_PAUSE: Final = 0.01
_MOVE: Final = 1.0  # seconds in which a partition usually has another leader
# A partition has another leader than a moment before, as one that was just made.
_MOVING: Final = frozenset(
    {
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError._NOENT,  # noqa: SLF001 - librdkafka's own name: none that was asked for has one
    }
)
# A transaction that has just been committed is so everywhere a moment later; a group may move, too.
_SETTLING: Final = frozenset(
    {
        KafkaError.UNSTABLE_OFFSET_COMMIT,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.NOT_COORDINATOR,
    }
)
_NO_ANSWER: Final = frozenset({KafkaError._TIMED_OUT, KafkaError._TRANSPORT})  # noqa: SLF001 - the same
_SPECS: Final[Any] = OffsetSpec  # its methods have no types


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


@dataclass(frozen=True)
class Copies:
    """How the copies of a topic's partitions stand.

    Attributes:
        partitions: how many there are.
        leaderless: those that can neither be read nor written.
        unwritable: those with fewer copies in sync than the topic's `min.insync.replicas`.
        lacking: those with fewer copies in sync than they should have.
    """

    topic: str
    partitions: int
    leaderless: tuple[int, ...]
    unwritable: tuple[int, ...]
    lacking: tuple[int, ...]


def offset_of(topic: str, partition: Partition, position: Position) -> TopicPartition:
    """A position as a group commits it: its metadata is stop, a colon and numbering."""
    stop = "" if position.stop is None else str(position.stop)
    metadata = f"{stop}:{position.numbering or ''}"
    return TopicPartition(topic, int(partition), position.next, metadata)


def _position(committed: TopicPartition) -> Position:
    stop, _, numbering = (committed.metadata or "").partition(":")
    return Position(
        committed.offset, None, numbering or None, int(stop) if stop.isdecimal() else None
    )


class Topics:
    """The topics of a cluster.

    Each answer is waited for `timeout` seconds at most. Then a method raises `Unavailable`, or
    `Fatal` where there is none because settings are wrong.

    Raises:
        Fatal: a property is wrong.
    """

    def __init__(self, config: KafkaConfig, *, timeout: float = _TIMEOUT) -> None:
        self._timeout = timeout
        self._complaints = deque[KafkaError](maxlen=1)
        # They leave as errors.
        quiet = {"log_level": 0, "error_cb": _noted_in(self._complaints)}
        self._properties: dict[str, Any] = client_properties(config) | quiet
        self._admin: Any  # its stubs are partial
        self._connect()

    def _connect(self) -> None:
        with translated():
            self._admin = AdminClient(self._properties)

    def brokers(self) -> int:
        """How many brokers there are now."""
        future = self._admin.describe_cluster(request_timeout=self._timeout)
        with self._translated():
            return len(self._answer(future).nodes)

    def copies(self, names: Iterable[str]) -> list[Copies]:
        """How the copies of these topics stand; those that are not there are left out."""
        with self._translated():
            known = self._admin.list_topics(timeout=self._timeout).topics
            there = {name: known[name].partitions for name in names if name in known}
            if not there:
                return []
            asked: Any = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in there]
            configs = self._admin.describe_configs(asked, request_timeout=self._timeout)
            least = {
                resource.name: int(self._answer(future)["min.insync.replicas"].value)
                for resource, future in configs.items()
            }
        return [_copies(name, parts, least[name]) for name, parts in there.items()]

    def find(self, name: str) -> Topic | None:
        """A topic by its name; None where there is none."""
        asked = TopicCollection([name])
        with self._translated():
            # Tells the client which brokers there are: asked alone, it would wait for a controller
            # that has died until it looks by itself, in minutes, and call it without a pause.
            self._admin.list_topics(name, timeout=self._timeout)
            future = self._admin.describe_topics(asked, request_timeout=self._timeout)[name]
            try:
                found = self._answer(future)
            except KafkaException as error:
                if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                    return None
                raise
        numbers = tuple(sorted(each.id for each in found.partitions))
        return Topic(name, None if found.topic_id is None else str(found.topic_id), numbers)

    def named(self, name: str, *, is_read: bool = False) -> Topic:
        """The same.

        Args:
            name: as for `find`.
            is_read: whether it is read into books; then the error says how these go on.

        Raises:
            Fatal: there is none.
        """
        topic = self.find(name)
        if topic is None:
            raise no_topic(name, is_read=is_read)
        return topic

    def make(
        self,
        name: str,
        *,
        partitions: int,
        replication: int | None,
        config: Mapping[str, str] = _AS_THE_BROKERS_HAVE_IT,
    ) -> bool:
        """Makes a topic unless it is there; returns whether it was not. Then it can be found.

        Args:
            name: its name.
            partitions: how many.
            replication: how often each is kept; None as the brokers have it.
            config: properties of the topic that are not as the brokers have them.
        """
        wanted = NewTopic(
            name, partitions, replication_factor=replication or -1, config=dict(config)
        )
        futures = self._admin.create_topics(
            [wanted], operation_timeout=self._timeout, request_timeout=self._timeout
        )
        with self._translated():
            try:
                self._answer(futures[name])
            except KafkaException as error:
                if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                    return False
                raise
        deadline = time.monotonic() + self._timeout
        while self.find(name) is None:  # The brokers tell each other.
            if time.monotonic() > deadline:
                raise Unavailable(f"Kafka has made {name}, but does not show it yet")
            time.sleep(_PAUSE)
        return True

    def bounds(self, topic: Topic, *, whole: bool = True) -> dict[int, tuple[int, int]]:
        """The first offset that each partition still has, and the one after its last.

        Args:
            topic: from `find`.
            whole: whether all are wanted. Else those are left out that have no leader just now.

        Raises:
            Unavailable: of `whole`, also where a partition has no leader.
            Fatal: the topic is not there any more.
        """
        firsts = self._offsets(topic, _SPECS.earliest(), whole=whole)
        nexts = self._offsets(topic, _SPECS.latest(), whole=whole)
        return {each: (firsts[each], nexts[each]) for each in sorted(firsts.keys() & nexts.keys())}

    def committed(
        self, group: str, topic: str, partitions: Sequence[Partition], *, settled: bool = True
    ) -> dict[Partition, Position]:
        """What a group has committed of a topic's partitions; the others are absent.

        What a transaction has moved that is not ended yet is waited for, a moment long, unless
        `settled` is false: then it does not count.

        Raises:
            Unavailable: Kafka is away, or such a transaction is still not ended.
            Fatal: this user may not see the group.
        """
        if not partitions:
            return {}
        asked = [TopicPartition(topic, int(each)) for each in partitions]
        until = time.monotonic() + _MOVE
        try:
            with self._translated():
                while True:
                    try:
                        found = self._committed(
                            ConsumerGroupTopicPartitions(group, asked), settled=settled
                        )
                        break
                    except KafkaException as error:
                        if error.args[0].code() not in _SETTLING or time.monotonic() > until:
                            raise
                        time.sleep(_PAUSE)
        except Unavailable:
            # A client may wait for a coordinator that is not any more, and look for no other:
            # https://github.com/confluentinc/librdkafka/issues/5511.
            self._connect()
            raise
        return {str(each.partition): _position(each) for each in found if each.offset >= 0}

    def groups(self) -> dict[str, int]:
        """The groups of consumers that the brokers know, and how many members each has.

        Raises:
            Unavailable: Kafka is away, or a part of it.
            Fatal: this user may not see groups.
        """
        with self._translated():
            listed = self._answer(self._admin.list_consumer_groups(request_timeout=self._timeout))
            if listed.errors:
                raise listed.errors[0]
            names = [each.group_id for each in listed.valid]
            if not names:
                return {}
            futures = self._admin.describe_consumer_groups(names, request_timeout=self._timeout)
            return {name: len(self._answer(futures[name]).members) for name in names}

    def _committed(
        self, wanted: ConsumerGroupTopicPartitions, *, settled: bool
    ) -> list[TopicPartition]:
        futures = self._admin.list_consumer_group_offsets(
            [wanted], require_stable=settled, request_timeout=self._timeout
        )
        found: list[TopicPartition] = self._answer(futures[wanted.group_id]).topic_partitions
        for each in found:
            if each.error is not None:
                raise KafkaException(each.error)
        return found

    def _offsets(self, topic: Topic, spec: OffsetSpec, *, whole: bool) -> dict[int, int]:
        found: dict[int, int] = {}
        deadline = time.monotonic() + (self._timeout if whole else _MOVE)
        with self._translated():
            while True:
                asked = {
                    TopicPartition(topic.name, each): spec
                    for each in topic.partitions
                    if each not in found
                }
                moving = self._ask_leaders(topic, asked, found)
                if moving is None or (not whole and time.monotonic() > deadline):
                    return found
                if time.monotonic() > deadline:
                    raise _leaderless(topic, found) from moving
                time.sleep(_PAUSE)

    def _ask_leaders(
        self, topic: Topic, asked: Mapping[TopicPartition, OffsetSpec], found: dict[int, int]
    ) -> Exception | None:
        """Enters what the leaders tell; returns why one does not, if it is about to change."""
        moving: Exception | None = None
        futures = self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=self._timeout
        )
        for each, future in futures.items():
            try:
                offset = self._answer(future).offset
            except KafkaException as error:
                code = error.args[0].code()
                if code == KafkaError._NOENT:  # noqa: SLF001 - librdkafka's own name
                    self.named(topic.name)  # Without a leader, or without a topic?
                if code not in _MOVING:
                    raise
                moving = error
            else:
                if offset < 0:  # what a leader says that is new
                    moving = Unavailable("Kafka is away: a partition has just got a new leader")
                else:
                    found[each.partition] = offset
        return moving

    def _answer(self, future: Future[Any]) -> Any:
        return future.result(self._timeout + _GRACE)

    @contextmanager
    def _translated(self) -> Generator[None]:
        """As `translated` does; where nobody has answered in time, the error says why not."""
        self._admin.poll(0)  # has complaints delivered, here those of before
        self._complaints.clear()
        with translated():
            try:
                yield
            except TimeoutError:
                raise Unavailable("Kafka is away: it did not answer in time") from None
            except KafkaException as error:
                if error.args[0].code() not in _NO_ANSWER:
                    raise
                self._admin.poll(0)
                if self._complaints:
                    raise KafkaException(*self._complaints) from None
                # Nobody says so who hangs up on a client that does not begin with TLS.
                plain = not str(self._properties["security.protocol"]).endswith("SSL")
                hint = "; if it wants TLS, set ASSAY_KAFKA__SECURITY_PROTOCOL" if plain else ""
                raise Unavailable(f"{error_of(error.args[0])}{hint}") from None


def _leaderless(topic: Topic, found: Collection[int]) -> Unavailable:
    missing = [str(each) for each in topic.partitions if each not in found]
    which = (
        f"partition {missing[0]} has"
        if len(missing) == 1
        else (f"partitions {', '.join(missing)} have")
    )
    return Unavailable(f"Kafka is away in part: {topic.name}, {which} no leader: start the brokers")


def _copies(topic: str, partitions: Mapping[int, Any], least: int) -> Copies:
    def those(is_one: Callable[[Any], bool]) -> tuple[int, ...]:
        return tuple(number for number, each in sorted(partitions.items()) if is_one(each))

    return Copies(
        topic,
        len(partitions),
        leaderless=those(lambda each: each.leader < 0),
        # Brokers take no more than all copies for the least.
        unwritable=those(lambda each: len(each.isrs) < min(least, len(each.replicas))),
        lacking=those(lambda each: len(each.isrs) < len(each.replicas)),
    )


def _noted_in(complaints: deque[KafkaError]) -> Callable[[KafkaError], None]:
    """A callback that keeps those complaints that say more than that nobody is there."""

    def note(error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's own name
            complaints.append(error)

    return note
