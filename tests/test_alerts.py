"""Alert rules: of metrics that there are, and firing when they should."""

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from assay.domain.metrics import METRICS
from assay_ml_api.metrics import METRICS as API_METRICS

FOLDER: Final = Path(__file__).parents[1] / "infra" / "prometheus"
RULES: Final = sorted(FOLDER.glob("*.rules.yml"))
SUFFIXES: Final = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}


def alerts(file: Path) -> list[dict[str, Any]]:
    """The alerts of a file."""
    groups: list[dict[str, Any]] = yaml.safe_load(file.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("file", RULES, ids=lambda each: each.name)
def test_rules_name_metrics_that_there_are(file: Path) -> None:
    """Each metric in a rule is registered, and so is each label that a rule asks for."""
    known = {
        each.name + suffix: {*each.labels, "le"}
        for each in (*METRICS, *API_METRICS)
        for suffix in SUFFIXES[each.kind]
    }
    for rule in alerts(file):
        found = re.findall(r"\b(assay_\w+)(?:\{([^}]*)\})?", rule["expr"])
        assert found
        for name, labels in found:
            assert name in known, rule["alert"]
            assert set(re.findall(r"(\w+)\s*[=!]", labels)) <= known[name], rule["alert"]


@pytest.mark.parametrize("file", RULES, ids=lambda each: each.name)
def test_an_alert_says_what_to_do(file: Path) -> None:
    """It has a name of its own, waits before it wakes anybody, and ends in advice."""
    found = alerts(file)
    assert len({rule["alert"] for rule in found}) == len(found)
    for rule in found:
        assert rule["alert"].startswith("Assay")
        assert rule["for"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


@pytest.mark.system
@pytest.mark.parametrize("file", RULES, ids=lambda each: each.name)
def test_alerts_fire_when_they_should(file: Path) -> None:
    """Prometheus itself takes the rules, and its unit tests of them pass."""
    tests = file.with_name(file.name.replace(".rules.", ".tests."))
    for arguments in (["check", "rules", str(file)], ["test", "rules", str(tests)]):
        done = subprocess.run(
            ["promtool", *arguments],  # noqa: S607 - wherever it is installed
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
