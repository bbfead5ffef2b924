"""The books of topics beside the topics themselves."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from assay.domain.books import Difference, Unfinished
from assay.domain.position import TOPICS


class Bounds(NamedTuple):
    """The first offset that a partition still has, and the one after its last."""

    first: int
    next: int


class Topic(NamedTuple):
    """A topic as the brokers have it; its id is given once, when it is made."""

    id: str | None
    bounds: Mapping[int, Bounds]


@dataclass(frozen=True)
class Standing:
    """One partition of a topic beside its books.

    Attributes:
        begins, ends: of what the topic still has.
        first, next: of what the books have; None where it was never read.
        to_come: offsets that are to be read yet; of a topic made anew, all that it has.
        before: offsets that the topic has from before the books, where reading began later.
    """

    source: str
    partition: str
    begins: int
    ends: int
    first: int | None
    next: int | None
    to_come: int
    before: int


def compare(
    unfinished: Iterable[Unfinished], ask: Callable[[str], Topic | None]
) -> tuple[list[Standing], list[Difference]]:
    """Holds the books of all topics against what the brokers say.

    Markers of transactions and offsets that compaction has taken are offsets like others here: the
    books pass over them, and they are no gaps.

    Args:
        unfinished: where the books stand, read before the brokers are asked.
        ask: for a topic by its name.

    Returns:
        How each partition stands, and what contradicts the books.
    """
    sources: dict[str, dict[str, Unfinished]] = {}
    for each in unfinished:
        if each.source.startswith(TOPICS):
            sources.setdefault(each.source, {})[each.partition] = each
    standings: list[Standing] = []
    differences: list[Difference] = []
    for source, books in sources.items():
        topic = ask(source.removeprefix(TOPICS))
        if topic is None:
            differences.append(_difference("topics that are gone", 0, 1, source))
            continue
        for partition, bounds in sorted(topic.bounds.items()):
            book = books.get(str(partition))
            standings.append(_standing(source, str(partition), topic.id, bounds, book))
            # Without books beside those that have some: new, or without a leader as they began.
            counted = book or Unfinished(source, str(partition), 0, 0, topic.id)
            differences += _contradictions(counted, topic.id, bounds)
        for partition in sorted(books.keys() - set(map(str, topic.bounds))):
            differences.append(
                _difference("partitions that the topic has not", 0, 1, source, partition)
            )
    return standings, differences


def _standing(
    source: str, partition: str, topic: str | None, bounds: Bounds, book: Unfinished | None
) -> Standing:
    stands = (None, None) if book is None else (book.first, book.next)
    if book is None or _is_another(book, topic):
        left = bounds.next - bounds.first
        return Standing(source, partition, *bounds, *stands, to_come=left, before=0)
    return Standing(
        source,
        partition,
        *bounds,
        *stands,
        to_come=max(0, bounds.next - max(book.next, bounds.first)),
        before=max(0, book.first - bounds.first),
    )


def _is_another(book: Unfinished, topic: str | None) -> bool:
    """Whether the books are of a topic that was there before, so that offsets say nothing."""
    return book.numbering not in {None, topic}


def _contradictions(book: Unfinished, topic: str | None, bounds: Bounds) -> Iterator[Difference]:
    where = book.source, book.partition
    if _is_another(book, topic):
        yield _difference("topics made anew since they were read", 0, 1, *where)
    elif book.next < bounds.first:
        gone = bounds.first - book.next
        yield _difference("offsets deleted before they were read", 0, gone, *where)
    elif book.next > bounds.next:
        yield _difference("the topic's end", book.next, bounds.next, *where)


def _difference(
    what: str, expected: int, found: int, source: str, partition: str | None = None
) -> Difference:
    return Difference(what=what, expected=expected, found=found, source=source, partition=partition)
