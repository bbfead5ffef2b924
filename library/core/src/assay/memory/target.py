"""A target that keeps what it was given."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from assay.domain.outcome import Outcome
from assay.domain.reject import faults, no_rejects
from assay.memory.faults import Faults


@dataclass
class MemoryTarget:
    """Takes every record but those named.

    Attributes:
        refused: ids that it never takes.
        by_range: whether it wants the same ranges again.
        held: what it was given, by id.
        faults: at `deliver` and `deliver.done`.
    """

    refused: set[str] = field(default_factory=set[str])
    held: dict[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    faults: Faults = field(default_factory=Faults)
    by_range: bool = False

    def deliver(self, outcome: Outcome) -> pl.DataFrame:
        """Keeps the classified records of an outcome."""
        self.faults.at("deliver")
        is_refused = pl.col("transaction_id").is_in(list(self.refused))
        for row in outcome.classified.filter(~is_refused).iter_rows(named=True):
            self.held[row["transaction_id"]] = row
        self.faults.at("deliver.done")
        refused = outcome.classified.filter(is_refused)
        if refused.is_empty():
            return no_rejects()
        return faults(
            refused.select("row", "transaction_id", code=pl.lit("target_refused")), stage="commit"
        )

    def close(self) -> None:
        """Nothing is to be let go of."""
