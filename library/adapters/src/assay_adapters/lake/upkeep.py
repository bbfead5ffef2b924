"""Upkeep of a Delta table: many small files become few large ones, and old ones go away.

Neither changes what the table holds, and both may run beside connectors and each other.
"""

from typing import Any, NamedTuple

from deltalake import DeltaTable

from assay.domain.errors import Fatal
from assay_adapters.lake.config import LakeConfig
from assay_adapters.lake.errors import translated
from assay_adapters.lake.target import Storage


class Compacted(NamedTuple):
    """What became of files: so many were read, so many were written in their place."""

    removed: int
    added: int


def compact(config: LakeConfig, storage: Storage, *, date: str | None = None) -> Compacted:
    """Writes files of about `file_mib` in place of smaller ones, in one version of the table.

    The small ones stay where they are for whoever reads an older version; see `vacuum`.

    Args:
        config: which table.
        storage: how its place is reached.
        date: only that of this day, `YYYY-MM-DD`.

    Raises:
        Unavailable: the place of the table is away, or somebody else has compacted it meanwhile.
        Fatal: there is no table, or it cannot be used.
    """
    with translated(config.uri):
        found: dict[str, Any] = _table(config, storage).optimize.compact(
            partition_filters=None if date is None else [("date", "=", date)],
            target_size=config.file_mib << 20,
        )
    return Compacted(found["numFilesRemoved"], found["numFilesAdded"])


def vacuum(config: LakeConfig, storage: Storage, *, dry_run: bool = False) -> list[str]:
    """Deletes files that no version needs which is younger than `keep_hours`.

    Args:
        config: which table.
        storage: how its place is reached.
        dry_run: only tells which.

    Returns:
        Their names within the table.

    Raises:
        Unavailable: the place of the table is away.
        Fatal: there is no table, or it cannot be used.
    """
    with translated(config.uri):
        # Seven days are what delta-rs insists on otherwise; here they are the default.
        return _table(config, storage).vacuum(
            config.keep_hours, dry_run=dry_run, enforce_retention_duration=False
        )


def _table(config: LakeConfig, storage: Storage) -> DeltaTable:
    options = dict(storage())
    if not DeltaTable.is_deltatable(config.uri, options):
        raise Fatal(f"{config.uri} is no Delta table: `assay connect lake` makes one")
    return DeltaTable(config.uri, storage_options=options)
