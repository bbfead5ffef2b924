"""The open letters that a redrive works on."""

from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

import polars as pl

from assay.domain.choice import Filter

LOST: Final = (
    "the claim on these letters ran out, and others may have taken them since; what is committed "
    "stays: run again for the rest"
)
"""Why a redrive is `Fenced`, wherever it is found out."""

Readable: TypeAlias = Callable[[Mapping[str, int]], object]
"""Told how many letters of each source are about to be claimed; what it raises prevents that."""


class Selection(Protocol):
    """Letters that one redrive has claimed for itself, numbered from 0.

    A claim is leased: nobody else takes or discards its letters before some minutes have passed
    since it was claimed, renewed or committed to. Letters of a claim that ran out are free again.
    What a store commits under the source `redrive` is conditional on the claim of that run.

    All methods may raise `Unavailable` (call again) and `Fatal`.
    """

    def claim(self, chosen: Filter, limit: int | None, readable: Readable) -> int:
        """Claims open letters that nobody else holds, all at once; once for a run.

        Args:
            chosen: which of them.
            limit: how many at most, those that were committed first; None: all.
            readable: asked before anything is claimed.

        Returns:
            How many.
        """
        ...

    def page(self, first: int, limit: int) -> pl.DataFrame:
        """The claimed letters from a number on, in order of their numbers, shaped as `LETTERS`.

        At most `limit`; fewer where they are large, but one at least where there is one.

        Raises:
            Fenced: the claim ran out, and they are no longer the run's own.
        """
        ...

    def renew(self) -> None:
        """Begins the lease anew.

        Raises:
            Fenced: the claim ran out, and others may have taken its letters.
        """
        ...

    def free(self) -> None:
        """Gives up what is left of the claim; nothing where there is none."""
        ...
