"""Parquet files by date: the guarantees of a target, and who can read them."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import duckdb
import polars as pl
import pytest
from pydantic import ValidationError

from assay.domain.errors import Fatal, Unavailable
from assay.memory.objects import MemoryObjects
from assay.ports.target import Target
from assay.testing.frames import outcome, together, transaction
from assay.testing.target import TargetSuite
from assay.wire.predictions import ROWS
from assay_adapters.archive.config import ArchiveConfig
from assay_adapters.archive.target import ArchiveTarget

_ROOT = "memory://bucket/archive/"
_NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def objects() -> MemoryObjects:
    """A bucket."""
    return MemoryObjects()


def _all(objects: MemoryObjects) -> pl.DataFrame:
    files = [pl.read_parquet(body) for body in objects.bodies.values()]
    return pl.concat(files) if files else pl.DataFrame(schema=ROWS)


class TestArchiveTarget(TargetSuite):
    @pytest.fixture
    def target(self, objects: MemoryObjects) -> Target:
        self._objects = objects
        return ArchiveTarget(objects, _ROOT)

    def held(self, target: Target) -> Mapping[str, Mapping[str, Any]]:
        del target
        rows = _all(self._objects).rows(named=True)
        held = {row["transaction_id"]: {**row, "amount": str(row["amount"])} for row in rows}
        assert len(held) == len(rows)
        return held


def test_a_file_holds_a_day_of_a_range(objects: MemoryObjects) -> None:
    """Named after topic, partition and first position; days are those of UTC."""
    late = transaction("b", timestamp=_NEW_YEAR.replace(microsecond=1))
    early = transaction("c", timestamp=datetime(2024, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
    one = outcome([early, late], first=7, partition="0", source="kafka/predictions")
    two = outcome(["d"], partition="1", source="kafka/predictions")
    ArchiveTarget(objects, _ROOT).deliver(together(one, two))
    assert sorted(each.removeprefix(_ROOT) for each in objects.bodies) == [
        "date=2024-01-02/predictions-None-1-00000000000000000000.parquet",
        "date=2024-12-31/predictions-None-0-00000000000000000007.parquet",
        "date=2025-01-01/predictions-None-0-00000000000000000007.parquet",
    ]
    found = _all(objects).sort("transaction_id")
    assert found.schema == ROWS
    assert found.select("transaction_id", "partition", "position").rows() == [
        ("b", "0", 8),
        ("c", "0", 7),
        ("d", "1", 0),
    ]


def test_the_same_range_is_the_same_files(objects: MemoryObjects) -> None:
    """To the byte: whoever reads one while it comes again reads no other."""
    target, given = ArchiveTarget(objects, _ROOT), outcome(["a", "b"])
    target.deliver(given)
    before = dict(objects.bodies)
    target.deliver(given)
    assert objects.bodies == before


def test_one_file_that_cannot_be_written_fails_all(objects: MemoryObjects) -> None:
    """All are to be delivered again; what is wrong for good is said first."""
    days = [transaction(f"{n}", timestamp=_NEW_YEAR.replace(day=n)) for n in range(1, 5)]
    target = ArchiveTarget(objects, _ROOT)
    objects.faults.plan("write", Unavailable("away"), Fatal("denied"))
    with pytest.raises(Fatal, match="denied"):
        target.deliver(outcome(days))
    objects.faults.plan("write", Unavailable("away"))
    with pytest.raises(Unavailable):
        target.deliver(outcome(days))
    target.deliver(outcome(days))
    assert _all(objects).height == 4


def test_files_of_all_times_are_read_together(tmp_path: Any, objects: MemoryObjects) -> None:
    """By polars and DuckDB: a column that older files lack is null there, the date is a column."""
    given = outcome(["a", transaction("b", timestamp=_NEW_YEAR)], partition="0")
    ArchiveTarget(objects, _ROOT).deliver(given)
    for number, (name, body) in enumerate(sorted(objects.bodies.items())):
        file = tmp_path / name.removeprefix(_ROOT)
        file.parent.mkdir()
        frame = pl.read_parquet(body)
        (frame.drop("feature_hash") if number else frame).write_parquet(file)
    files = tmp_path / "**" / "*.parquet"
    by_polars = pl.scan_parquet(files, hive_partitioning=True, missing_columns="insert").collect()
    wanted = [("a", date(2024, 1, 2), None), ("b", date(2025, 1, 1), None)]
    columns = "transaction_id", "date", "feature_hash"
    assert sorted(by_polars.select(*columns).rows()) == wanted
    with duckdb.connect() as connection:
        relation = connection.sql(  # the test's own names
            f"SELECT {', '.join(columns)}, amount, timestamp"  # noqa: S608
            f" FROM read_parquet('{files}', hive_partitioning = true, union_by_name = true)"
        )
        rows = sorted(relation.fetchall())
    assert [row[:3] for row in rows] == wanted
    assert str(rows[0][3]) == "12.50"


@pytest.mark.parametrize("uri", ["s3://bucket/archive", "/archive/", "s3://bucket/*/"])
def test_the_place_must_be_a_folder_in_s3(uri: str) -> None:
    with pytest.raises(ValidationError, match="s3://bucket/archive/"):
        ArchiveConfig(uri=uri)


_PUBLISHED = {
    "transaction_id": pl.String(),
    "description": pl.String(),
    "amount": pl.Decimal(18, 2),
    "currency": pl.String(),
    "timestamp": pl.Datetime("us", "UTC"),
    "merchant": pl.String(),
    "operation_type": pl.String(),
    "side": pl.String(),
    "mcc": pl.String(),
    "category": pl.String(),
    "confidence": pl.Float64(),
    "needs_review": pl.Boolean(),
    "model_name": pl.String(),
    "model_version": pl.String(),
    "feature_hash": pl.String(),
    "partition": pl.String(),
    "position": pl.Int64(),
}


def test_columns_that_files_have_stay_as_they_are() -> None:
    """What is in archives by now is read together with what will be: columns may only be added."""
    assert {name: ROWS.get(name) for name in _PUBLISHED} == _PUBLISHED
