"""Stored transactions on their way through the model once more."""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from assay.domain.chunk import Chunk
from assay.domain.reject import no_rejects

RESCORE: Final = "rescore/"
"""What the source of a rescore begins with; name and version of its model follow, so that each
version has positions of its own. What it commits are predictions: its transactions stand already,
and a reject, which has no letter, is a prediction that could not be made."""

_ENTRY_BITS: Final = 24


def source_of(model_name: str, model_version: str) -> str:
    """The source under which positions and ledger of a rescore are kept."""
    return f"{RESCORE}{model_name}/{model_version}"


def is_rescore(source: str) -> bool:
    """Whether only predictions are kept of what comes from there."""
    return source.startswith(RESCORE)


def position_of(entry: int) -> int:
    """The first position of the transactions of a ledger entry; those of the next one follow.

    A store numbers its transactions so, and a prediction names its transaction by that number.
    Entries alone would not do: a range has at least as many positions as records.
    """
    return entry << _ENTRY_BITS


def entry_at(position: int) -> int:
    """The ledger entry whose transactions are at a position."""
    return position >> _ENTRY_BITS


@dataclass(frozen=True)
class StoredChunk(Chunk):
    """Stored transactions.

    Attributes:
        transactions: those that its records stand for, row by row, shaped as `TRANSACTIONS`.
    """

    transactions: pl.DataFrame = field(kw_only=True)

    @property
    def bytes(self) -> int:
        """The memory that its records and transactions take, about."""
        return super().bytes + int(self.transactions.estimated_size())


def decode(chunk: Chunk) -> tuple[pl.DataFrame, pl.DataFrame]:
    """All records of such a chunk are candidates."""
    if not isinstance(chunk, StoredChunk):
        raise TypeError("only stored transactions are decoded like this")
    return chunk.transactions, no_rejects()
