"""What a topic has lost before it was read, and how the books go on after it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from assay.domain.chunk import RECORDS
from assay.domain.errors import Fenced
from assay.domain.outcome import CLASSIFIED, Outcome
from assay.domain.position import Partition, Position, Positions, Range
from assay.domain.reject import no_rejects
from assay.ports.store import Store


class Retire(Protocol):
    """Puts partitions aside that are gone, or whose positions have come to mean other records."""

    def __call__(
        self, source: str, gone: Collection[Partition], begins: Positions, run_id: str
    ) -> None:
        """Gives their books another name, and begins anew where it is said."""
        ...


@dataclass(frozen=True)
class Gaps:
    """Where the books of a topic cannot go on by themselves.

    Attributes:
        deleted: offsets that were deleted before they were read, as ranges without records.
        replaced: partitions that are those of another topic of this name, were cut, or are gone,
            and where the books of the old ones stand.
        begins: where reading of these begins anew; those that are gone are absent.
        under_way: what of a deleted stretch, and after it, was being delivered to a target that may
            have it since: the first offset, and the one after the last.
    """

    deleted: tuple[Range, ...]
    replaced: Mapping[Partition, int]
    begins: Positions
    under_way: Mapping[Partition, tuple[int, int]]

    @property
    def facts(self) -> dict[str, Any]:
        """The same as JSON has it."""
        return {
            "deleted": [
                {"partition": each.partition, "first": each.first, "next": each.next}
                for each in self.deleted
            ],
            "replaced": [
                {"partition": partition, "next": stands}
                for partition, stands in self.replaced.items()
            ],
            "under_way": [
                {"partition": partition, "first": first, "next": after}
                for partition, (first, after) in self.under_way.items()
            ],
        }


def find(stand: Positions, bounds: Mapping[Partition, tuple[int, int]], topic: str | None) -> Gaps:
    """Holds where the books stand against what the topic has.

    Of a topic that has books, a partition that has none stands at 0: it is new since the reading
    began, or had no leader then.

    Args:
        stand: the positions of all partitions that have books.
        bounds: of each partition the first offset that it has, and the one after its last; empty
            where the topic is gone.
        topic: its id.
    """
    deleted: list[Range] = []
    replaced: dict[Partition, int] = {}
    begins: dict[Partition, Position] = {}
    under_way: dict[Partition, tuple[int, int]] = {}
    new = dict.fromkeys(bounds if stand else (), Position(0, None, topic))
    for partition, position in {**new, **stand}.items():
        if partition not in bounds:
            replaced[partition] = position.next
            continue
        first, after = bounds[partition]
        if position.numbering not in {None, topic} or position.next > after:
            replaced[partition] = position.next
            begins[partition] = Position(first, None, topic)
        elif position.next < first:
            deleted.append(Range(partition, position.next, first, 0, None, topic))
            if position.stop is not None:
                under_way[partition] = position.next, position.stop
    return Gaps(tuple(deleted), replaced, begins, under_way)


def accept(gaps: Gaps, source: str, run_id: str, store: Store, retire: Retire) -> None:
    """Enters gaps in the books: a deleted stretch is a range in which nothing was read.

    What was under way there is given up: what is left of it is delivered in another range.

    Raises:
        Fenced: a consumer has gone on meanwhile, or somebody else has accepted the same.
        Unavailable: the store is away; what is entered stays.
    """
    if gaps.replaced:
        retire(source, gaps.replaced.keys(), gaps.begins, run_id)
    if gaps.under_way:
        unbound = {
            each.partition: Position(each.first, None, each.numbering)
            for each in gaps.deleted
            if each.partition in gaps.under_way
        }
        retire(source, (), unbound, run_id)
    if gaps.deleted:
        entered = Outcome(
            run_id=run_id,
            source=source,
            destination="",
            ranges=gaps.deleted,
            records=pl.DataFrame(schema=RECORDS),
            classified=pl.DataFrame(schema=CLASSIFIED),
            rejects=no_rejects(),
        )
        try:
            store.commit(entered)
        except Fenced as error:
            lost = ", ".join(sorted({each.partition for each in error.ranges}))
            raise Fenced(
                error.ranges,
                f"the books of {source} have gone on meanwhile, partition {lost}: a consumer runs,"
                " or another accept-gap was first; look again with --dry-run",
            ) from None
