"""What a look at the books finds."""

from dataclasses import dataclass

from assay.domain.position import Partition
from assay.domain.tally import Tally


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two numbers that should be equal.

    Attributes:
        what: what they count, in words.
        expected: what the books say; None where they say nothing.
        found: what is there; None where there is nothing.
        source: where; None where it is about all.
        partition: the same.
        run_id: the same.
    """

    what: str
    expected: int | None
    found: int | None
    source: str | None = None
    partition: Partition | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Unfinished:
    """A partition that stands at `next` and has no end yet; a topic's never has.

    Attributes:
        first: where its books begin.
        numbering: what its positions count, where that may change.
    """

    source: str
    partition: Partition
    next: int
    first: int
    numbering: str | None


@dataclass(frozen=True)
class Gap:
    """Positions that were never read, since somebody has accepted that they are gone."""

    source: str
    partition: Partition
    first: int
    next: int


@dataclass(frozen=True)
class OnTheWay:
    """What a classifier has put on topics a moment ago, and is not all here yet.

    Attributes:
        source: where it is read, or was.
        what: what the numbers count, in words.
        expected: how many there are, as far as the ledger has come.
        found: how many are here.
    """

    source: str
    what: str
    expected: int
    found: int


@dataclass(frozen=True)
class Report:
    """What the books say.

    Attributes:
        entries: the ledger's entries.
        tally: their sum.
        redriven: of what was read, dead letters that were tried again.
        imported: of what was read, dead letters that were taken in.
        rescored: of what was read, stored transactions that were predicted again.
        delivered: of what was read, predictions that a classifier has put on a topic.
        differences: none where the books balance.
        unfinished: for information.
        gaps: the same.
        on_the_way: the same.
    """

    entries: int
    tally: Tally
    redriven: int
    imported: int
    rescored: int
    delivered: int
    differences: tuple[Difference, ...]
    unfinished: tuple[Unfinished, ...]
    gaps: tuple[Gap, ...]
    on_the_way: tuple[OnTheWay, ...] = ()
