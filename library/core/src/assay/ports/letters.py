"""The dead letters that wait to be published."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl


@dataclass(frozen=True)
class Claim:
    """Letters that one relay has taken to publish together.

    Attributes:
        name: given once to exactly these letters and kept with them, so that whoever repeats
            the claim after a crash publishes the same letters under the same name.
        letters: shaped as `LETTERS`, in order of source, partition and position.
    """

    name: str
    letters: pl.DataFrame


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
