"""Parquet files as a target, each of one range and one day.

Below a folder lies `date=<day>/<topic>-<topic's id>-<partition>-<first position>.parquet`: the
records of the range whose time is on that day in UTC, in their order. The position has twenty
digits. So a range that comes again, with the same end, writes the same files.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import NamedTuple

import polars as pl

from assay.domain.errors import Unavailable
from assay.domain.outcome import Outcome
from assay.domain.position import TOPICS
from assay.domain.reject import no_rejects
from assay.ports.objects import Objects
from assay.wire.predictions import rows


class _File(NamedTuple):
    name: str
    records: pl.DataFrame


class ArchiveTarget:
    """The port `assay.ports.target.Target` on Parquet files; takes every record."""

    by_range = True

    def __init__(self, objects: Objects, uri: str, connections: int = 8) -> None:
        """Writes nothing yet.

        Args:
            objects: where files are written.
            uri: the folder, with `/` at its end.
            connections: files that are written at the same time.
        """
        self._objects, self._uri = objects, uri
        self._writers = ThreadPoolExecutor(connections, thread_name_prefix="archive")

    def deliver(self, outcome: Outcome) -> pl.DataFrame:
        """Writes the files of an outcome's ranges, as the port says."""
        writing = [self._writers.submit(self._write, each) for each in _files(outcome)]
        failures = [error for each in writing if (error := each.exception()) is not None]
        # What is wrong for good is said before what passes.
        for error in sorted(failures, key=lambda each: isinstance(each, Unavailable)):
            raise error
        return no_rejects()

    def close(self) -> None:
        """Ends what writes."""
        self._writers.shutdown(cancel_futures=True)

    def _write(self, file: _File) -> None:
        body = BytesIO()
        file.records.write_parquet(body)
        self._objects.write(self._uri + file.name, body.getvalue())


def _files(outcome: Outcome) -> Iterator[_File]:
    whole = rows(outcome).with_columns(date=pl.col("timestamp").dt.date())
    for each in outcome.ranges:
        topic = f"{outcome.source.removeprefix(TOPICS)}-{each.numbering}"
        name = f"{topic}-{each.partition}-{each.first:020}.parquet"
        own = whole.filter(partition=each.partition).sort("position")
        for (date,), part in own.partition_by("date", as_dict=True, include_key=False).items():
            yield _File(f"date={date}/{name}", part)
