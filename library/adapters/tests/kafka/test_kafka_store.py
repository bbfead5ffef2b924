"""The store on Kafka: the guarantees of the port, and whose commits count."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Consumer
from trial import MakeTopic, a_group

from assay.domain.errors import AssayError, Fatal, Fenced, Unavailable
from assay.domain.outcome import Outcome
from assay.domain.position import Partition, Position, Positions, Range
from assay.domain.tally import Tally
from assay.memory.target import MemoryTarget
from assay.ports.store import Store
from assay.testing.frames import outcome, transaction
from assay.testing.store import StoreSuite
from assay.wire import ledger
from assay_adapters.kafka.atomic import Atomic
from assay_adapters.kafka.books import newest_entries
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.reading import letters_on, newest
from assay_adapters.kafka.store import KafkaStore

_SUITE = "transactions/"
"""What the suite's partitions are called before their numbers."""


@dataclass
class Standin:
    """Has a place in a group that nobody has joined, and all partitions of a topic."""

    kafka: KafkaConfig
    group: str
    assigned: Collection[Partition] = frozenset({"0", "1"})

    def membership(self) -> object:
        consumer = Consumer(
            {"bootstrap.servers": self.kafka.bootstrap_servers, "group.id": self.group}
        )
        try:
            return consumer.consumer_group_metadata()
        finally:
            consumer.close()


@dataclass
class Renamed:
    """The suite's sources and partitions are topics here, and numbers."""

    store: Store
    topics: Mapping[str, str]

    def positions(self, source: str, partitions: Collection[Partition]) -> Positions:
        asked = [each.removeprefix(_SUITE) for each in partitions]
        found = self.store.positions(self._source(source), asked)
        return {f"{_SUITE}{each}": at for each, at in found.items()}

    def commit(self, outcome: Outcome) -> Tally:
        def named(partition: Partition) -> Partition:
            return partition.removeprefix(_SUITE)

        given = replace(
            outcome,
            source=self._source(outcome.source),
            destination=f"kafka:{self.topics['dead']}",
            ranges=tuple(replace(e, partition=named(e.partition)) for e in outcome.ranges),
            records=outcome.records.with_columns(pl.col("partition").str.strip_prefix(_SUITE)),
            headers={named(name): value for name, value in outcome.headers.items()},
        )
        try:
            return self.store.commit(given)
        except Fenced as fenced:
            ranges = fenced.ranges
            raise Fenced(
                tuple(replace(e, partition=f"{_SUITE}{e.partition}") for e in ranges)
            ) from fenced

    def recent(self, source: str, partition: Partition | None, records: int) -> Tally:
        asked = None if partition is None else partition.removeprefix(_SUITE)
        return self.store.recent(self._source(source), asked, records)

    def _source(self, name: str) -> str:
        return f"kafka/{self.topics.get(name, name)}"


@dataclass
class Place:
    """Topics, and stores that write to them."""

    kafka: KafkaConfig
    topic: str
    predictions: str
    dead: str
    entries: str
    group: str = field(default_factory=a_group)

    def store(self, *, name: str = "one", member: Any = None) -> KafkaStore:
        return KafkaStore(
            self.kafka,
            group=self.group,
            name=name,
            member=member or Standin(self.kafka, self.group),
            predictions=self.predictions,
            entries=self.entries,
        )

    def outcome(self, ids: list[str], **given: Any) -> Outcome:
        source, destination = f"kafka/{self.topic}", f"kafka:{self.dead}"
        return outcome(ids, source=source, destination=destination, partition="0", **given)

    def ids(self) -> list[str]:
        """Those on the topic of predictions, in order."""
        values = newest(self.kafka, self.predictions)
        return sorted(json.loads(each.value() or b"")["transaction_id"] for each in values)

    def entered(self) -> list[ledger.Entry]:
        return [entry for entry, _ in newest_entries(self.kafka, self.entries)]


@pytest.fixture
def place(kafka: KafkaConfig, make_topic: MakeTopic) -> Place:
    """Topics of a test's own, each of one partition."""
    names = [make_topic().name for _ in range(4)]
    return Place(kafka, *names)


class TestKafkaStore(StoreSuite):
    @pytest.fixture
    def make_store(self, kafka: KafkaConfig, make_topic: MakeTopic) -> Callable[[], Store]:
        """Each with a producer of its own, all under one name."""
        topics = {each: make_topic(2).name for each in ("files", "other", "predictions")}
        topics |= {each: make_topic(1).name for each in ("dead", "entries")}
        place = Place(kafka, "", topics["predictions"], topics["dead"], topics["entries"])
        return lambda: Renamed(place.store(), topics)


def test_a_commit_is_on_all_topics(place: Place) -> None:
    """Predictions, letters, one entry a range, and where the group stands."""
    given = place.outcome(["a", transaction("b", needs_review=True)], rejected=["x"])  # type: ignore[list-item]
    given = replace(given, ranges=(Range("0", 0, 9, 3, numbering="the topic"),))
    assert place.store().commit(given) == Tally(read=3, classified=2, rejected=1, needs_review=1)
    assert place.ids() == ["a", "b"]
    assert len(newest(place.kafka, place.dead)) == 1
    (entry,) = place.entered()
    assert (entry.first, entry.next, entry.read, entry.classified) == (0, 9, 3, 2)
    assert (entry.group, entry.predictions) == (place.group, f"kafka/{place.predictions}")
    stand = place.store().positions(given.source, ["0"])
    assert stand == {"0": Position(9, numbering="the topic")}


def test_only_the_owner_of_a_partition_commits_it(place: Place) -> None:
    """What a member has lost before its commit is fenced, whatever else it owns."""
    store = place.store(member=Standin(place.kafka, place.group, {"1"}))
    with pytest.raises(Fenced) as fenced:
        store.commit(place.outcome(["a"]))
    assert [each.partition for each in fenced.value.ranges] == ["0"]
    assert place.ids() == []


def test_who_has_left_the_group_commits_nothing(place: Place, make_topic: MakeTopic) -> None:
    """Its place is an older one than the group's, though nothing has been committed since."""
    trial = make_topic()
    first = trial.source(place.group)
    list(zip(range(30), first.events(lambda _: {"0": Position(0)}), strict=False))
    assert first.assigned == {"0"}
    old = Standin(place.kafka, place.group)
    membership = first.membership()
    old.membership = lambda: membership  # type: ignore[method-assign]
    first.close()
    second = trial.source(place.group)
    list(zip(range(30), second.events(lambda _: {"0": Position(0)}), strict=False))
    assert second.assigned == {"0"}
    of_trial = replace(place.outcome(["a"]), source=f"kafka/{trial.name}")
    with pytest.raises(Fenced):
        place.store(name="old", member=old).commit(of_trial)
    assert place.ids() == []
    assert place.store(name="new", member=second).commit(of_trial) == Tally(1, 1)
    assert place.ids() == ["a"]


def test_what_a_dead_process_has_left_open_is_taken_back_by_its_successor(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    """At once, where that has its name: nobody reads it, and the same records are committed.

    Should it live after all, it is told so, and librdkafka writes nothing past the log.
    """
    dead = Atomic(place.kafka, f"{place.group}/one")
    message = {"key": b"z", "value": json.dumps({"transaction_id": "z"}).encode()}
    dead.put([(place.predictions, [message])], [], place.store().__dict__["_member"].membership())
    store = place.store()
    assert store.positions(f"kafka/{place.topic}", ["0"]) == {}
    assert store.commit(place.outcome(["a"])) == Tally(1, 1)
    assert place.ids() == ["a"]
    with pytest.raises(AssayError):
        dead.conclude()
    assert capfd.readouterr().err == ""


def test_reading_begins_once(place: Place) -> None:
    """Whoever comes later finds it entered, wherever it would have begun."""
    source = f"kafka/{place.topic}"
    place.store().begin(source, {"0": Position(5, numbering="t")})
    place.store(name="two").begin(source, {"0": Position(7, numbering="t")})
    assert place.store().positions(source, ["0"]) == {"0": Position(5, numbering="t")}


def test_a_prediction_that_the_topic_does_not_take_says_so(
    kafka: KafkaConfig, make_topic: MakeTopic
) -> None:
    """Nothing is committed, and the message names the topic and what to do."""
    small = make_topic(1, max_message_bytes="2000").name
    place = Place(kafka, make_topic().name, small, make_topic().name, make_topic().name)
    store = place.store()
    wide = transaction("a", description=" ".join(f"{each:x}" for each in range(1000)))
    with pytest.raises(Fatal, match=rf"{small} .* max.message.bytes"):
        store.commit(place.outcome([wide]))  # type: ignore[list-item]
    assert place.entered() == []
    assert store.positions(f"kafka/{place.topic}", ["0"]) == {}


# ---------------------------------------------------------------- ends of ranges


def _noting(place: Place, target: MemoryTarget, name: str = "one") -> KafkaStore:
    """A store of a target that wants the same ranges again."""
    return KafkaStore(
        place.kafka,
        group=place.group,
        name=name,
        member=Standin(place.kafka, place.group),
        entries=place.entries,
        target=target,
    )


def test_a_range_that_was_begun_ends_where_it_did(place: Place) -> None:
    """Whoever comes after the one that died in it learns the end, and can commit no other."""
    target = MemoryTarget(by_range=True)
    target.faults.plan("deliver.done", Unavailable("away"))
    begun = place.outcome(["a", "b"])
    source = begun.source
    with pytest.raises(Unavailable):
        _noting(place, target).commit(begun)
    successor = _noting(place, target)
    assert successor.positions(source, ["0"]) == {"0": Position(0, stop=2)}
    for other in (["a"], ["a", "b", "c"]):
        with pytest.raises(Fenced):
            successor.commit(place.outcome(other))
    assert successor.commit(begun) == Tally(2, 2)
    assert successor.positions(source, ["0"]) == {"0": Position(2)}
    assert target.held.keys() == {"a", "b"}


def test_ends_are_noted_for_those_only_who_need_them(place: Place) -> None:
    """Another target gets its records in whatever company."""
    target = MemoryTarget()
    target.faults.plan("deliver.done", Unavailable("away"))
    with pytest.raises(Unavailable):
        _noting(place, target).commit(place.outcome(["a", "b"]))
    successor = _noting(place, target)
    assert successor.positions(f"kafka/{place.topic}", ["0"]) == {}
    assert successor.commit(place.outcome(["a"])) == Tally(1, 1)


def test_what_a_target_refuses_becomes_a_letter(place: Place) -> None:
    """The rest is classified, and the books say both."""
    store = _noting(place, MemoryTarget(refused={"b"}))
    assert store.commit(place.outcome(["a", "b"])) == Tally(2, 1, 1)
    (letter,) = [each for _, each in letters_on(place.kafka, place.dead)]
    assert letter is not None
    (entry,) = place.entered()
    assert (entry.classified, entry.rejected, entry.predictions) == (1, 1, None)
