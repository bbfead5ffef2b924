"""What the other fields of a record say beside its texts."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from assay.domain.taxonomy import Taxonomy

Adds: TypeAlias = Mapping[str, Mapping[str, Mapping[str, float]]]
"""By column and value: the categories whose score changes, and by how much."""


@dataclass(frozen=True)
class Fields:
    """Adds to scores what fields say; a value that is null or unknown says nothing.

    Attributes:
        adds: by column and value.
        taxonomy: has all categories that it names.
    """

    adds: Adds
    taxonomy: Taxonomy

    def added(self, transactions: pl.DataFrame) -> dict[str, NDArray[np.float64]]:
        """By column that the transactions have: one row each, one column per category."""
        return {
            column: table[
                transactions[column]
                .cast(pl.String)
                .replace_strict(values, list(range(len(values))), default=len(values))
                .to_numpy()
            ]
            for column, (values, table) in self._tables.items()
            if column in transactions.columns
        }

    @cached_property
    def _tables(self) -> dict[str, tuple[list[str], NDArray[np.float64]]]:
        """By column its values, and a row for each and one of zeros."""
        tables: dict[str, tuple[list[str], NDArray[np.float64]]] = {}
        for column, values in self.adds.items():
            table = np.zeros((len(values) + 1, len(self.taxonomy.categories)))
            for row, adds in zip(table[:-1], values.values(), strict=True):
                for category, score in adds.items():
                    row[self.taxonomy.categories.index(category)] = score
            tables[column] = (list(values), table)
        return tables


def usual(codes: Mapping[str, str]) -> Adds:
    """What fields say by `fields.toml`.

    Args:
        codes: the category of each merchant category code.
    """
    text = resources.files("assay_model").joinpath("fields.toml").read_text("utf-8")
    written = tomllib.loads(text)
    mcc = written["mcc"]
    undecided = frozenset(mcc["undecided-codes"])
    said = {
        code: {category: mcc["undecided" if code in undecided else "decided"]}
        for code, category in codes.items()
    }
    return {"mcc": said, **written["field"]}
