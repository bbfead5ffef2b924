"""The store on Kafka: an outcome in one transaction of a producer."""

from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Final, NamedTuple

import polars as pl
from confluent_kafka import TopicPartition

from assay.domain.errors import Fenced
from assay.domain.outcome import Outcome, letters
from assay.domain.position import TOPICS, Partition, Position, Positions, Range
from assay.domain.settle import Settled, tallies
from assay.domain.tally import Tally
from assay.ports.target import Target
from assay.wire import ledger, predictions
from assay.wire.envelope import letters_to_messages
from assay.wire.framed import Frame, as_json
from assay_adapters.kafka.atomic import Atomic, LostPlace, Member, Message, Messages
from assay_adapters.kafka.books import newest_entries
from assay_adapters.kafka.config import KafkaConfig
from assay_adapters.kafka.letters import PREFIX
from assay_adapters.kafka.producer import Sending, untraced
from assay_adapters.kafka.topics import Topics, offset_of

_SLICE: Final = 5_000  # messages that are handed over at once


class _Done(NamedTuple):
    """An outcome that is on its topics, and what it came to."""

    run_id: str
    ranges: tuple[Range, ...]
    tally: Tally


class KafkaStore:
    """The port `assay.ports.store.Store` on topics of Apache Kafka.

    What is classified is put on a topic, or delivered to a target before. Predictions, letters,
    ledger entries and the group's offsets are one transaction. These offsets are the positions,
    their metadata the numbering. Of each partition one consumer commits at a time: the one that its
    group has given it to, from where the group stands.

    It knows no ids: nothing is a duplicate, and of two records with one id both are classified. An
    outcome that comes again is known to the object that has committed it; to others it is fenced.

    Of a target that tells records by their ranges it notes where these end before they are
    delivered, in the same metadata. Whoever begins there after a crash finds them to end there, and
    no other end is taken.
    """

    def __init__(
        self,
        config: KafkaConfig,
        *,
        group: str,
        name: str,
        member: Member,
        entries: str,
        predictions: str | None = None,
        target: Target | None = None,
        frame: Frame = as_json,
        sending: Sending = untraced,
    ) -> None:
        """Connects at the first commit.

        Args:
            config: how Kafka is reached.
            group: whose offsets are the positions.
            name: of this process, and of no other that is alive.
            member: the consumer that the outcomes come from.
            entries: the topic of ledger entries.
            predictions: the topic of predictions; None where there is a target.
            target: takes what is classified, before it is committed; closed by whoever made it.
            frame: writes the values of predictions.
            sending: traces the predictions of an outcome.

        Raises:
            Fatal: a property is wrong.
        """
        self._config, self._group, self._member = config, group, member
        self._entries, self._predictions, self._target = entries, predictions, target
        self._frame, self._sending = frame, sending
        self._topics = Topics(config)
        self._atomic = Atomic(config, f"{group}/{name}")
        self._beginning = partial(Atomic, config, f"{group}/begin")
        self._under_way: _Done | None = None
        self._done: _Done | None = None  # the last one
        self._lock = Lock()

    def positions(self, source: str, partitions: Sequence[Partition]) -> Positions:
        """The offsets that the group has committed; a transaction under way is waited for."""
        if not self._atomic.is_open:
            with self._lock:
                self._atomic.open()  # ends what one of this name has left open
        return self._topics.committed(self._group, source.removeprefix(TOPICS), partitions)

    def begin(self, source: str, begins: Positions) -> None:
        """Enters where reading of a topic begins, unless that stands there.

        Raises:
            Unavailable: Kafka is away, or another member has entered it meanwhile.
            Fatal: this user may not use the group or its transactional ids.
        """
        atomic = self._beginning()
        try:
            # Of several at once the last to open it commits; what others have committed it sees.
            atomic.open()
            membership = self._member.membership()
            if not self.positions(source, list(begins)):
                atomic.put((), _offsets(source, begins), membership)
                atomic.conclude()
        except LostPlace:
            pass  # whoever has it now begins
        finally:
            atomic.close()

    def move(self, source: str, positions: Positions) -> None:
        """Lets reading go on elsewhere, whatever stands there, and without an entry.

        Raises:
            Unavailable: Kafka is away.
            Fatal: this user may not use the group or its transactional ids.
        """
        self._atomic.put((), _offsets(source, positions), self._member.membership())
        self._atomic.conclude()

    def commit(self, outcome: Outcome) -> Tally:
        """Puts the outcome on its topics, as the port says but for ids."""
        if not outcome.ranges:
            return Tally()
        with self._lock:
            try:
                return self._commit(outcome)
            except LostPlace:
                self._under_way = None
                raise Fenced(outcome.ranges, "the group has another member for these") from None

    def _commit(self, outcome: Outcome) -> Tally:
        if self._atomic.is_under_way:
            self._conclude()
        if self._done is not None and self._done[:2] == (outcome.run_id, outcome.ranges):
            return self._done.tally
        self._atomic.open()
        # In this order: who is asked for a place first, and owns a partition after that, owned it
        # in that place; nobody else has moved it since it was seen where it stands.
        membership = self._member.membership()
        standing = self.positions(outcome.source, [each.partition for each in outcome.ranges])
        if fenced := self._fenced(outcome, standing):
            raise Fenced(fenced)
        if self._target is not None and self._target.by_range:
            self._note_ends(outcome, standing, membership)
        settled = self._settle(outcome)
        found = tallies(outcome, settled)
        moved = {each.partition: each.position for each in outcome.ranges}
        messages = self._messages(outcome, settled, found)
        self._atomic.put(messages, _offsets(outcome.source, moved), membership)
        self._under_way = done = _Done(outcome.run_id, outcome.ranges, sum(found, Tally()))
        self._conclude()
        return done.tally

    def _conclude(self) -> None:
        """Ends the transaction that is under way; one without an outcome has noted ends."""
        self._atomic.conclude()
        if self._under_way is not None:
            self._done, self._under_way = self._under_way, None

    def _note_ends(self, outcome: Outcome, standing: Positions, membership: object) -> None:
        """Notes where the ranges end, of those of which that is not noted already."""
        begun = {
            each.partition: Position(each.first, None, each.numbering, each.next)
            for each in outcome.ranges
            if (at := standing.get(each.partition)) is None or at.stop is None
        }
        if begun:
            self._atomic.put((), _offsets(outcome.source, begun), membership)
            self._atomic.conclude()

    def _fenced(self, outcome: Outcome, standing: Positions) -> list[Range]:
        """The ranges that this member cannot commit."""
        owned = set(self._member.assigned)
        return [
            each
            for each in outcome.ranges
            if each.partition not in owned
            or ((at := standing.get(each.partition)) is not None and not each.follows(at))
        ]

    def _settle(self, outcome: Outcome) -> Settled:
        """Delivers what is classified, if that is to be done before the commit."""
        refused = outcome.rejects.clear() if self._target is None else self._target.deliver(outcome)
        kept = outcome.classified.join(refused, on="row", how="anti", maintain_order="left")
        return Settled(kept, kept.clear(), refused)

    def _messages(self, outcome: Outcome, settled: Settled, found: Sequence[Tally]) -> Messages:
        """What is put on which topic, in slices."""
        if self._predictions is not None:
            yield from self._predicted(self._predictions, outcome)
        rejects = pl.concat([outcome.rejects, settled.rejects])
        yield (
            outcome.destination.removeprefix(PREFIX),
            [
                {"key": each.key, "value": each.value, "headers": list(each.headers)}
                for each in letters_to_messages(letters(outcome, rejects), self._group)
            ],
        )
        source = None if self._predictions is None else TOPICS + self._predictions
        entries = ledger.encode(outcome, found, self._group, source)
        yield self._entries, [{"key": key, "value": value} for key, value in entries]

    def _predicted(self, topic: str, outcome: Outcome) -> Messages:
        with self._sending(topic, outcome.classified.height) as headers:
            own = {"headers": list(headers.items())} if headers else {}
            for part in predictions.encode(outcome).iter_slices(_SLICE):
                values = self._frame(part["value"].to_list())
                pairs = zip(part["key"], values, strict=True)
                rows: list[Message] = [{"key": key, "value": value} for key, value in pairs]
                if own:  # of the first, by itself, since others are handed over in bulk
                    yield topic, [rows.pop(0) | own]
                    own = {}
                yield topic, rows

    def recent(self, source: str, partition: Partition | None, records: int) -> Tally:
        """The sum of the latest of the group's entries on their topic, as the port says."""
        total = Tally()
        for entry, _ in newest_entries(self._config, self._entries):
            is_other = (entry.group, entry.source) != (self._group, source)
            if is_other or partition not in {None, entry.partition}:
                continue
            if entry.accepts_rejects or total.read >= records:
                break
            total += entry.tally
        return total

    def close(self) -> None:
        """Takes back what is under way."""
        self._atomic.close()


def _offsets(source: str, positions: Positions) -> list[TopicPartition]:
    topic = source.removeprefix(TOPICS)
    return [offset_of(topic, each, at) for each, at in positions.items()]
