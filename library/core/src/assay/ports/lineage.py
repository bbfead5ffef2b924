"""What a run reads and writes, for a catalog of data."""

from collections.abc import Sequence
from typing import Protocol

from assay.domain.outcome import Outcome
from assay.domain.position import Partition
from assay.domain.tally import Tally


class Lineage(Protocol):
    """Told of one run from its beginning to its end. Never raises, and waits for nobody."""

    def start(self, partitions: Sequence[Partition] = ()) -> None:
        """The run begins to read.

        Args:
            partitions: of files; a source of another kind is known by its name.
        """
        ...

    def committed(self, outcome: Outcome, tally: Tally) -> None:
        """An outcome is committed."""
        ...

    def end(self, exit_code: int, why: str = "", *, is_stopped: bool = False) -> None:
        """The run has ended; told again, it has ended as was said first.

        Args:
            exit_code: with which.
            why: what has stopped it, or which files have failed; never content of a record.
            is_stopped: whether somebody has ended it before it was done.
        """
        ...


class Untold:
    """A `Lineage` that nobody is told of."""

    def start(self, partitions: Sequence[Partition] = ()) -> None:
        """Nothing."""

    def committed(self, outcome: Outcome, tally: Tally) -> None:
        """Nothing."""

    def end(self, exit_code: int, why: str = "", *, is_stopped: bool = False) -> None:
        """Nothing."""
