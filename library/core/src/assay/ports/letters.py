"""The dead letters that wait to be published."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import polars as pl


@dataclass(frozen=True)
class Claim:
    """Letters that one relay has taken to publish together.

    Attributes:
        name: given once to exactly these letters and kept with them, so that whoever repeats
            the claim after a crash publishes the same letters under the same name.
        letters: shaped as `LETTERS`, in order of source, partition and position.
        ids: by which whoever hands them out knows them, one for each.
    """

    name: str
    letters: pl.DataFrame
    ids: Sequence[int] = ()

    def without(self, rows: Collection[int]) -> "Claim":
        """The same without these of its letters."""
        left = [row for row in range(self.letters.height) if row not in rows]
        return replace(self, letters=self.letters[left], ids=[self.ids[row] for row in left])


class Letters(Protocol):
    """Hands out unpublished letters to relays, each to one relay at a time.

    All methods may raise `Unavailable`.
    """

    def destinations(self, prefix: str) -> Sequence[str]:
        """Where letters wait to be published, of the destinations that begin so, in order."""
        ...

    def claim(self, destination: str, limit: int) -> Claim | None:
        """The next letters for a destination, at most `limit`; None where none wait.

        A claim that was never stamped is handed out again, with the same name and letters: at
        once to the same relay, to others after its lease of some minutes has run out.
        """
        ...

    def stamp(self, claim: Claim, place: str) -> None:
        """These letters are published, and where."""
        ...

    def set_aside(self, claim: Claim, rows: Collection[int]) -> Claim:
        """Takes letters out of a claim whose destination does not take them; returns the rest.

        They wait on, and are handed out to whoever asks, under another name, once a lease of some
        minutes has run out.
        """
        ...

    def give_back(self) -> None:
        """What this relay has claimed and not stamped is handed out to whoever asks, at once."""
        ...
