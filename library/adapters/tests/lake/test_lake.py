"""A Delta table as a target: each record once, whoever races, and what is told of trouble."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable
from pydantic import ValidationError

from assay.domain.errors import Fatal, Unavailable
from assay.ports.target import Target
from assay.testing.frames import outcome, together
from assay.testing.target import TargetSuite
from assay_adapters.lake.config import LakeConfig
from assay_adapters.lake.target import LakeTarget
from assay_adapters.lake.upkeep import compact, vacuum
from assay_adapters.s3.config import S3Config, object_store
from assay_local.pytest_plugin import S3Settings


def _rows(uri: str, storage: Mapping[str, str] | None = None) -> pl.DataFrame:
    # polars takes other values of these than delta-rs does.
    others = {"max_retries", "retry_timeout", "connect_timeout", "timeout"}
    given = {name: each for name, each in (storage or {}).items() if name not in others}
    return pl.read_delta(uri, storage_options=given)


class TestLakeTarget(TargetSuite):
    @pytest.fixture
    def target(self, tmp_path: Path) -> Target:
        self._uri = str(tmp_path / "table")
        return LakeTarget(LakeConfig(uri=self._uri))

    def held(self, target: Target) -> Mapping[str, Mapping[str, Any]]:
        del target
        if not DeltaTable.is_deltatable(self._uri):
            return {}
        rows = _rows(self._uri).rows(named=True)
        held = {row["transaction_id"]: {**row, "amount": str(row["amount"])} for row in rows}
        assert len(held) == len(rows)
        return held


class TestLakeTargetInS3(TestLakeTarget):
    @pytest.fixture
    def target(self, s3_settings: S3Settings, bucket: str) -> Target:
        self._uri = f"s3://{bucket}/table"
        storage = object_store(S3Config.model_validate(vars(s3_settings)))
        self._storage = storage()
        return LakeTarget(LakeConfig(uri=self._uri), storage)

    def held(self, target: Target) -> Mapping[str, Mapping[str, Any]]:
        del target
        if not DeltaTable.is_deltatable(self._uri, self._storage):
            return {}
        rows = _rows(self._uri, self._storage).rows(named=True)
        held = {row["transaction_id"]: {**row, "amount": str(row["amount"])} for row in rows}
        assert len(held) == len(rows)
        return held


def test_rows_of_an_outcome_are_one_version(tmp_path: Path) -> None:
    """With the ends of its partitions, so that neither is there without the other."""
    uri = str(tmp_path / "table")
    both = together(outcome(["a"], first=4), outcome(["b"], partition="transactions/1"))
    LakeTarget(LakeConfig(uri=uri)).deliver(both)
    table = DeltaTable(uri)
    assert table.version() == 1
    ends = [table.transaction_version(f"assay/files/None/transactions/{n}") for n in (0, 1)]
    assert ends == [5, 1]
    assert table.metadata().partition_columns == ["date"]


def test_of_those_who_race_for_a_range_one_adds_it(tmp_path: Path) -> None:
    """The others look again, and find it there."""
    uri = str(tmp_path / "table")
    targets = [LakeTarget(LakeConfig(uri=uri)) for _ in range(6)]
    with ThreadPoolExecutor(len(targets)) as pool:
        for each in [pool.submit(each.deliver, outcome(["a", "b"])) for each in targets]:
            each.result()
    assert sorted(_rows(uri)["transaction_id"]) == ["a", "b"]


def test_those_of_different_partitions_get_along(tmp_path: Path) -> None:
    """Each adds its own, at the same time."""
    uri = str(tmp_path / "table")
    LakeTarget(LakeConfig(uri=uri)).deliver(outcome(["first"], partition="transactions/9"))

    def deliver(number: int) -> None:
        own = outcome([f"t-{number}"], partition=f"transactions/{number}")
        LakeTarget(LakeConfig(uri=uri)).deliver(own)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(deliver, range(6)))
    assert _rows(uri).height == 7


def test_a_place_that_is_away_is_told_in_a_line() -> None:
    """Whoever waits reads which."""
    config = S3Config.model_validate(
        {
            "endpoint_url": "http://127.0.0.1:1",
            "access_key_id": "a",
            "secret_access_key": "b",
            "region": "eu-central-1",
        }
    )
    target = LakeTarget(LakeConfig(uri="s3://bucket/table"), object_store(config))
    with pytest.raises(Unavailable, match=r"s3://bucket/table is away: .*127\.0\.0\.1") as caught:
        target.deliver(outcome(["a"]))
    assert "\x1b" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("uri", ["s3://bucket/table/", "table", "gs://bucket/table"])
def test_the_place_must_be_one_that_can_be_reached(uri: str) -> None:
    with pytest.raises(ValidationError, match="s3://bucket/table"):
        LakeConfig(uri=uri)


def _filled(uri: str) -> LakeConfig:
    config = LakeConfig(uri=uri, keep_hours=1)
    for first in range(6):
        LakeTarget(config).deliver(outcome([f"t-{first}"], first=first))
    return config


def test_small_files_become_large_ones(tmp_path: Path) -> None:
    """The rows stay, and so do the ends of the partitions: nothing is added twice after that."""
    uri = str(tmp_path / "table")
    config = _filled(uri)
    assert compact(config, dict, date="1999-01-01") == (0, 0)
    assert compact(config, dict) == (6, 1)
    assert compact(config, dict) == (0, 0)
    LakeTarget(config).deliver(outcome(["t-5", "t-6"], first=5))
    assert sorted(_rows(uri)["transaction_id"]) == [f"t-{n}" for n in range(7)]


def test_files_are_kept_for_a_while(tmp_path: Path) -> None:
    """After that they go, but for those of the table as it is."""
    uri = str(tmp_path / "table")
    config = _filled(uri)
    compact(config, dict)
    assert vacuum(config, dict) == []
    # What has left the table is as old as its file says.
    log = tmp_path / "table" / "_delta_log"
    for each in log.glob("*.json"):
        lines = [json.loads(line) for line in each.read_text().splitlines()]
        for line in lines:
            line.get("remove", {}).update(deletionTimestamp=0)
        each.write_text("\n".join(map(json.dumps, lines)))
    old = vacuum(config, dict, dry_run=True)
    assert len(old) == 6
    assert all((tmp_path / "table" / each).exists() for each in old)
    assert sorted(vacuum(config, dict)) == sorted(old)
    assert not any((tmp_path / "table" / each).exists() for each in old)
    assert _rows(uri).height == 6


def test_upkeep_makes_no_table(tmp_path: Path) -> None:
    """It says who does."""
    config = LakeConfig(uri=str(tmp_path / "table"))
    for act in (compact, vacuum):
        with pytest.raises(Fatal, match="assay connect lake"):
            act(config, dict)


def test_upkeep_and_connectors_get_along(tmp_path: Path) -> None:
    """Compacting beside appends fails at most by saying so."""
    uri = str(tmp_path / "table")
    config = _filled(uri)
    with ThreadPoolExecutor(1) as pool:
        added = pool.submit(
            lambda: [LakeTarget(config).deliver(outcome([f"t-{n}"], first=n)) for n in range(6, 20)]
        )
        while not added.done():
            with suppress(Unavailable):
                compact(config, dict)
        added.result()
    assert sorted(_rows(uri)["transaction_id"]) == sorted(f"t-{n}" for n in range(20))
