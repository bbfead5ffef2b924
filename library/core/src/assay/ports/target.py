"""Where connectors deliver what was classified."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from assay.domain.outcome import Outcome


class Target(Protocol):
    """Takes classified records, outside of the transaction that moves the positions.

    So they may come again: whoever delivers knows only afterwards that it is done. A target tells
    them by their ids, or by where they come from, and gets them in whatever company. One that tells
    them by their ranges gets the same range again, whoever delivers it.

    Attributes:
        by_range: whether it is that one.
    """

    by_range: bool

    def deliver(self, outcome: Outcome) -> pl.DataFrame:
        """Delivers the classified records of an outcome; what comes again changes nothing.

        Safe to use from several threads, each with an outcome of other partitions.

        Returns:
            Those that the target never takes, as rejects, shaped as `REJECTS`; all others are
            there.

        Raises:
            Unavailable: some may be there; all are to be delivered again.
            Fatal: it does not help to deliver them again.
        """
        ...

    def close(self) -> None:
        """Lets go of the target."""
        ...


@dataclass(frozen=True)
class Connector:
    """A kind of target, as an entry point of the group `assay.connectors` names it.

    Attributes:
        about: what `assay connect NAME --help` says of it: a line, and after a blank one the rest.
        sections: of settings that it reads, by their names in the group `assay.settings`.
        open: makes a target of these sections, in their order; may raise `Fatal`.
        defaults: of settings of the section `stream`, where others than the usual ones suit it.
    """

    about: str
    sections: Sequence[str]
    open: Callable[..., Target]
    defaults: Mapping[str, int | float] = field(default_factory=dict[str, int | float])
