"""The reject limit: it stops a bad deploy instead of diverting it into dead letters."""

from collections import deque
from decimal import Decimal
from typing import Final

from assay.domain.tally import Tally

DEFAULT_SHARE: Final = 0.5
ENOUGH: Final = 1_000
ENOUGH_AT_END: Final = 20


class RejectLimit:
    """Judges a chunk together with the latest 1,000 records or more before it.

    One history per scope, which is a partition or the whole source.

    Attributes:
        share: the share of rejected records that is still accepted; 1 accepts any.
    """

    def __init__(self, share: float = DEFAULT_SHARE) -> None:
        self.share = share
        self._history: dict[str, deque[Tally]] = {}

    @property
    def is_raised(self) -> bool:
        """Whether more is accepted than by default."""
        return self.share > DEFAULT_SHARE

    def seed(self, scope: str, recent: Tally) -> None:
        """What the ledger remembers of a scope, in place of its history."""
        self._history[scope] = deque([recent])

    def record(self, scope: str, committed: Tally) -> None:
        """A chunk of this scope was committed."""
        history = self._history.setdefault(scope, deque())
        history.append(committed)
        while sum(each.read for each in history) - history[0].read >= ENOUGH:
            history.popleft()

    def judged(self, scope: str, chunk: Tally) -> Tally:
        """What a chunk of this scope is judged by: the history and the chunk itself."""
        return sum(self._history.get(scope, ()), chunk)

    def is_exceeded(self, scope: str, chunk: Tally, *, ended: bool = False) -> bool:
        """Whether a chunk must not be committed.

        Args:
            scope: what it belongs to.
            chunk: its records and rejects so far.
            ended: whether its partition ends with it, so that fewer records are enough.
        """
        total = self.judged(scope, chunk)
        enough = total.read >= (ENOUGH_AT_END if ended else ENOUGH)
        # Exactly, as the share was written: 29 of 100 are no more than 0.29.
        return enough and total.rejected > Decimal(str(self.share)) * total.read
