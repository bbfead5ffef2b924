"""What runs tell a catalog of data, over the wire."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from catalog import Catalog, catalog
from demo.samples import HEADER
from impostor import Answer, answers
from streams import Stream, many, record, until
from system import System

from assay.domain.transaction import TRANSACTIONS

HEAD = f"{HEADER}\n".encode()


def line(number: int, side: str = "debit") -> bytes:
    name = f"{number}-{number % 1000}"  # as the impostor wants them
    return f"{name};CORNER BISTRO;12,50;2026-01-02 10:11:12;;payment;{side}\n".encode()


@pytest.fixture
def told() -> Iterator[Catalog]:
    with catalog() as found:
        yield found


def slowly(ids: list[str]) -> list[Answer]:
    time.sleep(0.3)
    return answers(ids)


def postgres(system: System) -> tuple[str, str]:
    found = urlsplit(system.environment["ASSAY_POSTGRES__URL"])
    return f"postgres://{found.hostname}:{found.port}", f"{found.path.strip('/')}.public."


def require_valid(event: dict[str, Any]) -> None:
    """What OpenLineage's schema requires of an event and of every facet is there."""
    assert event.keys() >= {"eventType", "eventTime", "run", "job", "producer", "schemaURL"}
    assert event["schemaURL"].endswith("/OpenLineage.json#/$defs/RunEvent")
    facets = [*event["run"]["facets"].values(), *event["job"]["facets"].values()]
    for each in (*event["inputs"], *event["outputs"]):
        assert each["namespace"]
        assert each["name"]
        for kind in ("facets", "inputFacets", "outputFacets"):
            facets += each.get(kind, {}).values()
    assert all(each.keys() >= {"_producer", "_schemaURL"} for each in facets)


def test_a_run_begins_and_is_complete(system: System, told: Catalog) -> None:
    """With its file, its tables, and the counts of its summary."""
    system.put("in/a.csv", HEAD + b"".join(line(each) for each in range(9)) + line(9, "neither"))
    parent = str(uuid4())
    done = system.batch(
        system.uri("in/"), **told.environment, OPENLINEAGE_PARENT_ID=f"airflow/dag.task/{parent}"
    )
    assert done.exit_code == 0, done.errors
    assert told.states == ["START", "COMPLETE"]
    for event in told.events:
        require_valid(event)
        assert event["run"]["runId"] == done.summary["run_id"]
        assert event["job"]["namespace"] == "assay"
        assert event["job"]["name"].startswith("batch.files/")
        assert event["run"]["facets"]["processing_engine"]["name"] == "Assay"
        assert event["run"]["facets"]["parent"]["run"]["runId"] == parent
    end = told.events[-1]
    (read,) = end["inputs"]
    assert (read["namespace"], read["name"]) == (f"s3://{system.bucket}", "in/a.csv")
    assert read["inputFacets"]["dataQualityMetrics"]["rowCount"] == done.summary["read"] == 10
    assertions = read["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [(each["assertion"], each["success"], each["actual"]) for each in assertions] == [
        ("books_balance", True, "9 + 1 + 0"),
        ("invalid_side", False, "1"),
    ]
    place, schema = postgres(system)
    assert [(each["namespace"], each["name"]) for each in end["outputs"]] == [
        (place, f"{schema}transactions"),
        (place, f"{schema}predictions"),
    ]
    for each in end["outputs"]:
        assert each["outputFacets"]["outputStatistics"]["rowCount"] == done.summary["classified"]
    fields = end["outputs"][0]["facets"]["schema"]["fields"]
    assert [each["name"] for each in fields] == [each for each in TRANSACTIONS if each != "row"]
    assert "CORNER BISTRO" not in repr(told.events)


def test_a_run_that_fails_says_why(system: System, told: Catalog) -> None:
    """By the exit code: data, an outage, a setting."""
    system.put("bad.csv", HEAD + line(1, "neither") * 50)
    assert system.batch(system.uri("bad.csv"), **told.environment).exit_code == 65
    system.put("good.csv", HEAD + line(1))
    nowhere = {"ASSAY_API__URL": "http://127.0.0.1:1"}
    good = system.uri("good.csv")
    assert system.batch(good, "--patience", "1s", **told.environment, **nowhere).exit_code == 75
    system.execute("DROP TABLE predictions CASCADE")
    assert system.batch(good, **told.environment).exit_code == 78
    assert told.states == ["START", "FAIL"] * 3
    for event, code in zip(told.events[1::2], (65, 75, 78), strict=True):
        require_valid(event)
        message = event["run"]["facets"]["errorMessage"]["message"]
        assert message.startswith(f"exit code {code}: ")


def test_a_run_with_nothing_to_do_tells_nothing(system: System, told: Catalog) -> None:
    """And off, none does."""
    system.put("a.csv", HEAD + line(1))
    assert system.batch(system.uri("a.csv"), OPENLINEAGE_URL=told.url).exit_code == 0
    assert system.batch(system.uri("a.csv"), **told.environment).exit_code == 99
    assert told.events == []


def test_a_killed_run_has_a_beginning_and_no_end(stream: Stream, told: Catalog) -> None:
    """The run that goes on in its place is another one of the same job, with its own counts."""
    system = stream.system
    system.put("a.csv", HEAD + b"".join(line(each) for each in range(4_000)))
    few = {"ASSAY_BATCH__CHUNK_RECORDS": "500", **told.environment}
    stream.api.behaviour = slowly
    running = system.start(
        *("batch", "run", system.uri("a.csv"), "--contract", str(system.contract("transactions"))),
        **few,
    )
    until(lambda: system.query("SELECT count(*) FROM ledger")[0][0] >= 1)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert told.states == ["START"]
    stream.api.behaviour = answers
    done = system.batch(system.uri("a.csv"), **few)
    assert done.exit_code == 0, done.errors
    assert told.states == ["START", "START", "COMPLETE"]
    first, _, end = told.events
    assert first["job"]["name"] == end["job"]["name"]
    assert first["run"]["runId"] != end["run"]["runId"] == done.summary["run_id"]
    rows = end["inputs"][0]["inputFacets"]["dataQualityMetrics"]["rowCount"]
    assert rows == done.summary["read"] < 4_000


def test_a_stream_tells_now_and_then_how_it_goes(stream: Stream, told: Catalog) -> None:
    """From its topic to its tables; ended as it was asked to, it is complete."""
    stream.make()
    stream.put(*many(2_000), b"broken")
    often = {"ASSAY_OPENLINEAGE__EVERY": "0.001", "ASSAY_STREAM__CHUNK_RECORDS": "500"}
    done = stream.run("stream", "consume", "--until-idle", "0.3", **told.environment, **often)
    assert done.exit_code == 0, done.errors
    assert told.states[0] == "START"
    assert told.states[-1] == "COMPLETE"
    assert set(told.states[1:-1]) == {"RUNNING"}
    end = told.events[-1]
    require_valid(end)
    assert end["job"]["facets"]["jobType"]["processingType"] == "STREAMING"
    (read,) = end["inputs"]
    assert (read["namespace"], read["name"]) == (f"kafka://{stream.servers}", stream.topic)
    assert read["inputFacets"]["dataQualityMetrics"]["rowCount"] == 2_001
    rows = end["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"]
    assert rows == done.summary["classified"] == 2_000


def test_a_classifier_and_a_rescore_tell_what_they_write(stream: Stream, told: Catalog) -> None:
    """The one a topic, the other predictions of what is stored."""
    stream.make()
    stream.put(record("t-1"), record("t-2"))
    idle = ("--until-idle", "0.3")
    assert stream.run("stream", "classify", *idle, **told.environment).exit_code == 0
    (made,) = told.events[-1]["outputs"]
    assert made["name"] == f"{stream.name}-predictions"
    assert stream.run("connect", "postgres", *idle, **told.environment).exit_code == 0
    assert told.events[-1]["inputs"][0]["name"] == f"{stream.name}-predictions"
    told.events.clear()
    done = stream.run("rescore", "--again", **told.environment)
    assert done.exit_code == 0, done.errors
    assert told.states == ["START", "COMPLETE"]
    place, schema = postgres(stream.system)
    end = told.events[-1]
    require_valid(end)
    assert [each["name"] for each in end["inputs"]] == [f"{schema}transactions"]
    assert [(each["namespace"], each["name"]) for each in end["outputs"]] == [
        (place, f"{schema}predictions")
    ]
    assert end["inputs"][0]["inputFacets"]["dataQualityMetrics"]["rowCount"] == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://192.0.2.1"])
def test_a_catalog_that_is_away_holds_nobody_up(system: System, url: str) -> None:
    """All is done, and one line says what is missing."""
    system.put("a.csv", HEAD + line(1))
    away = {"ASSAY_OPENLINEAGE__EVENTS": "true", "OPENLINEAGE_URL": url}
    done = system.batch(system.uri("a.csv"), **away)
    assert (done.exit_code, done.summary["classified"]) == (0, 1), done.errors
    assert done.summary["seconds"] < 10
    assert done.errors.count("nobody takes the lineage") == 1
    assert "urllib3" not in done.errors


def test_without_an_address_or_its_package_it_says_so(system: System) -> None:
    """Exit 78, before anything is read."""
    system.put("a.csv", HEAD + line(1))
    done = system.batch(system.uri("a.csv"), ASSAY_OPENLINEAGE__EVENTS="true")
    assert done.exit_code == 78
    assert "OPENLINEAGE_URL" in done.errors
    code = (
        "import sys\n"
        "sys.modules['openlineage'] = None\n"
        "from assay_adapters.openlineage.config import OpenLineageConfig\n"
        "from assay_adapters.openlineage.job import Job\n"
        "from assay_adapters.openlineage.start import lineage\n"
        "job = Job('name', 'run', 'BATCH', None, ())\n"
        "with lineage(OpenLineageConfig(), job): pass\n"
        "with lineage(OpenLineageConfig(events=True), job): pass\n"
    )
    done_ = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ
    )
    assert "pip install 'assay-adapters[openlineage]'" in done_.stderr
