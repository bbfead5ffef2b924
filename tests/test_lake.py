"""`assay lake …`: what a person sees of a table's upkeep."""

import json
from pathlib import Path

import pytest
from system import System

from assay.testing.frames import outcome
from assay_adapters.lake.config import LakeConfig
from assay_adapters.lake.target import LakeTarget


@pytest.fixture
def lake(system: System, tmp_path: Path) -> System:
    """The settings of a table of three small files."""
    uri = str(tmp_path / "table")
    for first in range(3):
        LakeTarget(LakeConfig(uri=uri)).deliver(outcome([f"t-{first}"], first=first))
    system.environment["ASSAY_LAKE__URI"] = uri
    return system


def _said(lake: System, *words: str, code: int = 0) -> str:
    running = lake.fork("lake", *words)
    assert running.end().exit_code == code
    return running.out.read_text()


def test_a_table_is_kept_in_shape(lake: System) -> None:
    """In words, and in JSON where that is asked for."""
    assert _said(lake, "compact", "--date", "1999-01-01", code=99) == "nothing to compact\n"
    assert _said(lake, "compact") == "3 files are 1 now\n"
    assert _said(lake, "vacuum", "--dry-run") == "0 files would be deleted\n"
    assert json.loads(_said(lake, "vacuum", "--json")) == {"dry_run": False, "files": []}


def test_where_no_table_is_it_says_who_makes_one(lake: System, tmp_path: Path) -> None:
    done = lake.quick("lake", "compact", ASSAY_LAKE__URI=str(tmp_path / "none"))
    assert (done.exit_code, "assay connect lake" in done.errors) == (78, True)
