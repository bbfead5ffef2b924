"""How a topic stands, asked beside the loop that reads it."""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread
from typing import Generic, TypeVar

from assay.domain.errors import Fatal, Renumbered, Unavailable
from assay.domain.position import Partition, Position, Positions
from assay_adapters.kafka.topics import Topic, Topics

T = TypeVar("T")


@dataclass(frozen=True)
class Standing:
    """A topic as it stood when the brokers were asked.

    Attributes:
        topic: its id and partitions.
        bounds: of each partition that has a leader the first offset that it has, and the one after
            its last.
        group: whose books are its offsets; None where they are elsewhere.
    """

    topic: Topic
    bounds: Mapping[int, tuple[int, int]]
    group: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all partitions have told how they stand."""
        return len(self.bounds) == len(self.topic.partitions)

    @property
    def firsts(self) -> dict[Partition, Position]:
        """Where each partition begins now."""
        return {str(each): self._at(first) for each, (first, _) in self.bounds.items()}

    @property
    def ends(self) -> dict[Partition, Position]:
        """Where each partition ends now."""
        return {str(each): self._at(after) for each, (_, after) in self.bounds.items()}

    @property
    def beginning(self) -> Position:
        """Where a partition stands that has no position although the topic was read before.

        It is new since then, or had no leader at that time. Read is all that it ever had.
        """
        return self._at(0)

    def _at(self, offset: int) -> Position:
        return Position(offset, None, self.topic.id)

    def checked(self, partition: int, position: Position) -> int:
        """The offset of a position, unless the topic has no longer what comes there.

        Raises:
            Renumbered: it was committed of another topic of this name.
            Fatal: records that were never read are gone.
        """
        first, after = self.bounds[partition]
        topic, name = self.topic.name, f"{self.topic.name}/{partition}"
        accept = f"assay stream accept-gap --topic {topic}"
        if self.group is not None:
            accept += f" --group {self.group}"
        if position.numbering not in {None, self.topic.id}:
            raise Renumbered(
                f"the topic {topic} was made anew: the books stand at {position.next:,} of "
                f"partition {partition} of another one, and whatever that one still had is not "
                f"read. To go on with the new one from its beginning: {accept}"
            )
        if position.next < first:
            raise Fatal(
                f"{first - position.next:,} offsets of {name} were deleted before they were read: "
                f"the books stand at {position.next:,}, and the topic begins at {first:,} now. To "
                f"go on from there and keep the gap in the books: {accept}"
            )
        if position.next > after:
            raise Renumbered(
                f"{name} ends at {after:,}, and the books stand at {position.next:,}: the topic "
                f"was made anew or cut. To go on with what it has: {accept}"
            )
        return position.next

    def left(self, stand: Positions) -> int | None:
        """How many offsets of all partitions are after these positions.

        None where that cannot be said: a partition has no leader, no partition has a position, or
        one has a position of another topic or after its end.
        """
        if not (stand and self.is_whole):
            return None
        left = 0
        for number, (_, after) in self.bounds.items():
            position = stand.get(str(number), self.beginning)
            if position.numbering not in {None, self.topic.id} or position.next > after:
                return None
            left += after - position.next
        return left

    def exceeded(self, stand: Positions, partitions: Collection[int]) -> Positions:
        """Those positions of these partitions that are after their end."""
        return {
            str(number): position
            for number in partitions
            if (position := stand.get(str(number))) is not None
            and number in self.bounds
            and position.next > self.bounds[number][1]
        }


def standing(topics: Topics, name: str, group: str | None = None) -> Standing:
    """How the topic of that name stands.

    Args:
        topics: asks the brokers.
        name: of the topic.
        group: as `Standing` has it.

    Raises:
        Unavailable: the brokers do not tell.
        Fatal: there is no such topic, or settings are wrong.
    """
    topic = topics.named(name, is_read=True)
    return Standing(topic, topics.bounds(topic, whole=False), group)


class Survey(Generic[T]):
    """Asks the brokers beside a loop, one question at a time.

    Where brokers are away an answer takes many seconds, in which a consumer must not lose its
    place in the group, nor seem to hang.
    """

    def __init__(self, question: Callable[[], T]) -> None:
        self._question = question
        self._asked: Future[T] | None = None
        self._failure: Unavailable | None = None

    def ask(self, patience: float) -> T | None:
        """The answer to the question that is under way, or else to a new one.

        Args:
            patience: seconds to wait for it.

        Returns:
            None where it is not there yet.

        Raises:
            Unavailable: the brokers do not tell, or did not at last and have not since.
            Fatal: what the question raises.
        """
        if self._asked is None:
            self._asked = Future()
            # Not of a pool, whose threads the end of the process would wait for.
            Thread(target=self._answer, args=(self._asked,), name="survey", daemon=True).start()
        if not wait([self._asked], patience).done:
            if self._failure is not None:
                raise self._failure
            return None
        answer, self._asked, self._failure = self._asked, None, None
        try:
            return answer.result()
        except Unavailable as error:
            self._failure = error
            raise

    def forget(self) -> None:
        """What is under way does not count any more, since it may tell of a time before."""
        self._asked = None

    def _answer(self, asked: Future[T]) -> None:
        try:
            asked.set_result(self._question())
        except BaseException as error:  # noqa: BLE001 - raised again where it was asked
            asked.set_exception(error)
