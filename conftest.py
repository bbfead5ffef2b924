"""What all tests share: the local servers, and which tests need ground that may be missing."""

import os
import shutil
from pathlib import Path

import pytest

pytest_plugins = ["assay_local.pytest_plugin"]

_GROUNDS = {
    "corpus": "ASSAY_TEST_DATA names no folder",
    "system": "promtool is not installed",
}


def _missing() -> dict[str, str]:
    found = {
        "corpus": Path(os.environ.get("ASSAY_TEST_DATA") or "missing").is_dir(),
        "system": shutil.which("promtool") is not None,
    }
    return {mark: reason for mark, reason in _GROUNDS.items() if not found[mark]}


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Says which marks are deselected, and why."""
    if config.option.markexpr:
        return []
    return [f"deselected: tests marked {mark}, since {why}" for mark, why in _missing().items()]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects tests whose ground is missing, unless marks are chosen with -m."""
    missing: set[str] = set() if config.option.markexpr else set(_missing())
    gone = [item for item in items if any(item.get_closest_marker(mark) for mark in missing)]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]
