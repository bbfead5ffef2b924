"""What all tests share: the local servers, and the corpora that only some checkouts have."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["assay_local.pytest_plugin"]


def _has_corpora() -> bool:
    return Path(os.environ.get("ASSAY_TEST_DATA") or "missing").is_dir()


def pytest_report_header() -> list[str]:
    """Says that tests are deselected, and why."""
    why = "deselected: tests marked corpus, since ASSAY_TEST_DATA names no folder"
    return [] if _has_corpora() else [why]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects tests over public corpora where there are none."""
    gone = [] if _has_corpora() else [each for each in items if each.get_closest_marker("corpus")]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]
