"""Where outcomes are committed."""

from collections.abc import Sequence
from typing import Protocol

from assay.domain.outcome import Outcome
from assay.domain.position import Partition, Positions
from assay.domain.tally import Tally


class Store(Protocol):
    """Commits an outcome all at once or not at all: rows, rejects, ledger entries, positions.

    All methods may raise `Unavailable` (call again: what is committed stays committed) and
    `Fatal` (it does not help to). Safe to use from several threads.
    """

    def positions(self, source: str, partitions: Sequence[Partition]) -> Positions:
        """Where each of these partitions stands; those never committed are absent."""
        ...

    def commit(self, outcome: Outcome) -> Tally:
        """Sorts the outcome by what the store knows, and keeps it.

        Where there are ids, a classified record whose id is known with the same content becomes a
        duplicate, with other content a reject (`conflicting_duplicate`); of several with one id
        inside the outcome the first in order stands. A store of topics knows none, and keeps all.

        Of a rescore (see `assay.domain.rescore`) predictions alone are kept, each of the
        transaction that its record's position is the number of: one whose transaction has a
        prediction of the same model and version becomes a duplicate, and rejects leave nothing but
        how many they are.

        A range moves its partition from `first` to `next` and is committed once: where a
        partition does not stand at `first`, is finished or has another numbering, the whole
        outcome is refused; one that was abandoned goes on. The exception is an
        outcome whose ranges are all stored already by the same run with the same ends: then
        nothing is written and the stored tally is returned. A store without ids knows that of the
        last one that it has committed itself.

        Returns:
            The tally of these ranges as it stands in the ledger; it balances.

        Raises:
            Fenced: names the ranges whose partition stands elsewhere, those stored included.
        """
        ...

    def recent(self, source: str, partition: Partition | None, records: int) -> Tally:
        """The sum of the latest ledger entries that reach that many records together.

        Args:
            source: the source to look at.
            partition: one partition of it; None for all of them.
            records: how many records to look back, at least; fewer where there are fewer.

        Returns:
            The tally of what came after the last range that was committed under a raised reject
            limit: whoever raised it has accepted all before.
        """
        ...
