"""What all tests share: the local servers, and tests that run only where they are asked for."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# `tests/test_orchestration.py` runs them, in Airflow's environment.
collect_ignore = ["application/orchestration"]

# Modules are compiled once, whatever the environment says: each command that a test starts would
# spend two thirds of its time on compiling them anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes says how busy the machine is.
settings.register_profile("assay", deadline=None)
settings.load_profile("assay")

pytest_plugins = ["assay_local.pytest_plugin"]


def _has_corpora() -> bool:
    return Path(os.environ.get("ASSAY_TEST_DATA") or "missing").is_dir()


def _deselected(config: pytest.Config) -> dict[str, str]:
    """The markers whose tests do not run, and why."""
    why: dict[str, str] = {}
    if not _has_corpora():
        why["corpus"] = "ASSAY_TEST_DATA names no folder"
    if lacking := [each for each in ("prometheus", "promtool") if shutil.which(each) is None]:
        why["system"] = f"{' and '.join(lacking)} not on the path"
    if not any(Path("/usr/lib/postgresql").glob("*/bin/initdb")):
        why["postgres_tls"] = "Debian's PostgreSQL is not installed, and the wheel's has no TLS"
    for marker in ("chaos", "containers"):
        if marker not in (config.option.markexpr or ""):
            why[marker] = f"they run for minutes: poe test-{marker}"
    return why


def pytest_xdist_auto_num_workers() -> int:
    """Half as many processes again as cores: at any time some wait, for servers and time-outs."""
    return (os.cpu_count() or 1) * 3 // 2


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Says that tests are deselected, and why."""
    return [
        f"deselected: tests marked {marker}, since {reason}"
        for marker, reason in _deselected(config).items()
    ]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects tests whose ground is missing, and long ones."""
    markers = _deselected(config)
    gone = [item for item in items if any(map(item.get_closest_marker, markers))]
    if gone:
        config.hook.pytest_deselected(items=gone)
        items[:] = [item for item in items if item not in gone]
