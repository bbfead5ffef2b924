"""Alert rules and dashboards: of metrics that there are; rules fire when they should."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import make_dashboards
import promql_parser as promql
import pytest
import yaml
from typer.core import TyperGroup
from typer.main import get_group

from assay.domain.metrics import METRICS
from assay_cli.main import application
from assay_ml_api.metrics import METRICS as API_METRICS

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = ROOT / "infra" / "prometheus"
RULES: Final = FOLDER / "assay.rules.yml"
SUFFIXES: Final = {"counter": [""], "gauge": [""], "histogram": ["_bucket", "_sum", "_count"]}
OF_SCRAPES: Final = {"job", "instance"}
"""Labels that Prometheus adds to all that it is told."""


def rules() -> list[dict[str, Any]]:
    """All of them, recorded ones and alerts."""
    groups: list[dict[str, Any]] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """The alerts, by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> Iterator[dict[str, Any]]:
    """What the dashboards show."""
    for text in make_dashboards.dashboards().values():
        yield from (each for each in json.loads(text)["panels"] if each["type"] != "row")


def queries() -> Iterator[str]:
    """All that dashboards and rules ask for, in PromQL."""
    yield from (rule["expr"] for rule in rules())
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m")


def known() -> dict[str, set[str]]:
    """The labels of each series that there may be."""
    found: dict[str, set[str]] = {}
    for each in (*METRICS, *API_METRICS):
        for suffix in SUFFIXES[each.kind]:
            le = {"le"} if suffix == "_bucket" else set[str]()
            found[each.name + suffix] = {*each.labels, *OF_SCRAPES, *le}
    found["up"] = OF_SCRAPES
    for rule in rules():
        if "record" in rule:
            by = re.findall(r"^\(?(?:sum|max) by \(([^)]*)\)", rule["expr"])
            found[rule["record"]] = {each for group in by for each in group.split(", ")}
    return found


def selected(query: str) -> list[tuple[str, set[str]]]:
    """The series that a query asks for, each with the labels that it is chosen by."""
    found: list[tuple[str, set[str]]] = []

    def visit(expr: promql.Expr) -> None:
        if isinstance(expr, promql.VectorSelector):
            assert expr.name
            found.append((expr.name, {each.name for each in expr.matchers.matchers}))

    promql.walk(promql.parse(query), visit)
    return found


def grouped(query: str) -> set[str]:
    """The labels that results of a query are grouped or matched by."""
    found: set[str] = set()

    def visit(expr: promql.Expr) -> None:
        if isinstance(expr, promql.AggregateExpr) and expr.modifier is not None:
            found.update(expr.modifier.labels)
        if isinstance(expr, promql.BinaryExpr) and expr.modifier and expr.modifier.matching:
            found.update(expr.modifier.matching.labels)

    promql.walk(promql.parse(query), visit)
    return found


@pytest.mark.parametrize("query", sorted(set(queries())))
def test_queries_name_metrics_that_there_are(query: str) -> None:
    """Each can be parsed; each metric in it is registered, and so is each label."""
    series = known()
    asked = selected(query)
    assert asked
    for name, labels in asked:
        assert name in series
        assert labels <= series[name], name
    assert grouped(query) <= set().union(*(series[name] for name, _ in asked))


def test_a_query_that_asks_for_what_there_is_not_is_found() -> None:
    """Names and labels are looked for wherever they stand."""
    asked = 'sum by (door) (rate(assay_records{colour="red"}[5m])) / on (pipeline) up{job="a"}'
    assert selected(asked) == [("assay_records", {"colour"}), ("up", {"job"})]
    assert grouped(asked) == {"door", "pipeline"}
    with pytest.raises(ValueError, match="unclosed"):
        promql.parse("sum(up")


def test_every_metric_is_on_a_dashboard() -> None:
    """Or in a rule that is recorded for one."""
    asked = {name for query in queries() for name, _ in selected(query)}
    for each in (*METRICS, *API_METRICS):
        assert asked & {each.name + suffix for suffix in SUFFIXES[each.kind]}, each.name
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert recorded <= asked


# ---------------------------------------------------------------- dashboards


def test_the_dashboards_are_those_of_their_code() -> None:
    """`poe dashboards` makes them again; none is left over."""
    made = make_dashboards.dashboards()
    assert {each.name for each in make_dashboards.FOLDER.iterdir()} == set(made)
    for name, content in made.items():
        assert (make_dashboards.FOLDER / name).read_text("utf-8") == content


def test_panels_say_what_they_show() -> None:
    """Each in words and units, its queries from the chosen data source, its series by name."""
    for panel in panels():
        assert panel["title"]
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters)), panel["title"]
        assert panel["type"] == "stat" or all(each["legendFormat"] for each in panel["targets"])
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= 24


def test_dashboards_can_be_told_apart() -> None:
    """Addresses and titles differ, and so do the numbers of panels on each."""
    made = [json.loads(each) for each in make_dashboards.dashboards().values()]
    for name in ("uid", "title"):
        assert len({each[name] for each in made}) == len(made)
    for each in made:
        numbers = [panel["id"] for panel in each["panels"]]
        assert numbers == list(range(1, len(numbers) + 1))


# ---------------------------------------------------------------- alerts


def test_an_alert_says_what_it_is_about() -> None:
    """It waits before it wakes anybody, and leads to its chapter of the runbooks."""
    for name, rule in alerts().items():
        assert name.startswith("Assay")
        assert rule["for"]
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert (
            rule["annotations"]["runbook_url"] == "{{ $externalLabels.runbooks }}#" + name.lower()
        )
        assert set(rule["annotations"]) == {"summary", "runbook_url"}
    names = [rule.get("alert") or rule["record"] for rule in rules()]
    assert len(set(names)) == len(names)


def test_each_alert_has_its_runbook() -> None:
    """In the order of the rules; each says what it means, what to look at and what to do."""
    page = (ROOT / "docs" / "runbooks.md").read_text("utf-8")
    _, *chapters = re.split(r"^## ", page, flags=re.MULTILINE)
    assert [chapter.split("\n", 1)[0] for chapter in chapters] == list(alerts())
    for chapter in chapters:
        assert re.findall(r"^\*\*([^*]+)\.\*\*", chapter, re.MULTILINE) == [
            "Means",
            "Look",
            "Do",
            "Harmless",
        ], chapter


@pytest.mark.parametrize("name", ["runbooks.md", "watching.md"])
def test_commands_in_the_runbooks_exist(name: str) -> None:
    """With the options that they are given, so that nobody looks for one at night."""
    page = (ROOT / "docs" / name).read_text("utf-8")
    typed = [each.split() for each in re.findall(r"`assay ([^`]+)`", page)]
    assert typed
    top = get_group(application({words[0] for words in typed}))
    for words in typed:
        command: Any = top
        for word in words:
            if isinstance(command, TyperGroup):
                assert word in command.commands, words
                command = command.commands[word]
        known = {"--help", *(option for each in command.params for option in each.opts)}
        assert {word for word in words if word.startswith("--")} <= known, words


def test_each_alert_stands_in_the_guide() -> None:
    """With its severity, and a link to its chapter."""
    page = (ROOT / "docs" / "watching.md").read_text("utf-8")
    rows = re.findall(r"^\| \[`(Assay\w+)`\]\(runbooks.md#(\w+)\) \| (\w+) \|", page, re.MULTILINE)
    assert rows == [
        (name, name.lower(), rule["labels"]["severity"]) for name, rule in alerts().items()
    ]


def test_each_alert_is_seen_to_fire_and_to_be_silent() -> None:
    """The unit tests of the rules expect both of each."""
    cases = yaml.safe_load((FOLDER / "assay.tests.yml").read_text("utf-8"))["tests"]
    expected = [each for case in cases for each in case.get("alert_rule_test", ())]
    for fires in (True, False):
        assert {each["alertname"] for each in expected if bool(each["exp_alerts"]) is fires} == set(
            alerts()
        )


@pytest.mark.system
@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "assay.rules.yml"],
        ["test", "rules", "assay.tests.yml"],
    ],
    ids=" ".join,
)
def test_prometheus_takes_configuration_and_rules(arguments: list[str]) -> None:
    """And its unit tests of the rules pass."""
    done = subprocess.run(
        ["promtool", *arguments],  # noqa: S607 - wherever it is installed
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
