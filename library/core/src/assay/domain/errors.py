"""Errors sorted by what the caller may do about them.

A bad record is data, never an exception (see `assay.domain.reject`). These are for everything
else: a dependency that is away, a call that was refused, a race that was lost, a setting that is
wrong. Each command ends with the exit code of the error that stopped it.
"""

from collections.abc import Collection, Iterable
from typing import Final

from assay.domain.position import Range

DONE: Final = 0
DATA: Final = 65
TEMPORARY: Final = 75
CONFIGURATION: Final = 78
NOTHING_TO_DO: Final = 99


class AssayError(Exception):
    """The root of the tree. The message says what happened and what to do, without any content.

    Attributes:
        exit_code: what a command that is stopped by this error exits with.
    """

    exit_code: int = CONFIGURATION


class Unavailable(AssayError):
    """A dependency is away: the same call may succeed later. Never a reason for a dead letter.

    Attributes:
        retry_after: seconds that the dependency asked for, if it did.
        too_much: whether it may have been too much at once, as no answer came in time.
    """

    exit_code = TEMPORARY

    def __init__(
        self, message: str, *, retry_after: float | None = None, too_much: bool = False
    ) -> None:
        super().__init__(message)
        self.retry_after, self.too_much = retry_after, too_much


class NotTaken(Unavailable):
    """A destination takes some letters of a claim in no form; the others are published.

    Attributes:
        place: where the others can be found.
        rows: those that are not there, by their rows in the claim.
    """

    def __init__(self, message: str, place: str, rows: Collection[int]) -> None:
        super().__init__(message)
        self.place, self.rows = place, tuple(rows)


class Refused(AssayError):
    """This call as a whole was refused while the dependency is well; a part of it may pass.

    Attributes:
        too_much: whether it was too much at once, whatever it holds.
    """

    exit_code = DATA

    def __init__(self, message: str, *, too_much: bool = False) -> None:
        super().__init__(message)
        self.too_much = too_much


class Fenced(AssayError):
    """Another owner went first.

    Attributes:
        ranges: those of the caller's ranges that are no longer its own.
    """

    exit_code = TEMPORARY

    def __init__(self, ranges: Iterable[Range], why: str | None = None) -> None:
        self.ranges = tuple(ranges)
        partitions = ", ".join(sorted({each.partition for each in self.ranges}))
        super().__init__(
            why or f"another run is working on {partitions}; run again when it has ended"
        )


class Replaced(AssayError):
    """A version of an object or of the model is no longer there: another one has its name."""

    exit_code = TEMPORARY


class Taken(AssayError):
    """Another object has the name already, and nothing is put in its place."""

    exit_code = DATA


class Fatal(AssayError):
    """Nothing that this process could do helps; it stops and says why and what to do."""


class Unreadable(Fatal):
    """One file cannot be read as its contract says; the other files of a run are still done."""

    exit_code = DATA


class Renumbered(Fatal):
    """The positions of one partition have come to mean other records than those committed."""


class Denied(Unreadable):
    """This process may not read one file, and may well read others."""


class RejectLimitExceeded(Fatal):
    """So many records were rejected that something else than the records must be wrong."""

    exit_code = DATA
