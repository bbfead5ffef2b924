"""Airflow starts the real images by its DockerOperator."""

import json
import os
import re
import secrets
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import uv
from containers.engine import ROOT
from containers.services import CONTRACTS, Services
from demo import samples

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1_200)]

_PROJECT = ROOT / "application/orchestration"
_CANARY = "canary-3f9a"
_LONGEST = 240  # seconds; without a scheduler Airflow may wait for ever


@dataclass(frozen=True)
class Airflow:
    """A place for Airflow to run a DAG once."""

    environment: Mapping[str, str]

    def run(self, *words: str) -> str:
        """Runs a command of Airflow.

        Returns:
            What it has written.
        """
        log = Path(self.environment["AIRFLOW_HOME"]) / f"{secrets.token_hex(4)}.out"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [uv.find_uv_bin(), "run", "--locked", "--project", _PROJECT, "airflow", *words],
                env=dict(self.environment),
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        try:
            code = process.wait(_LONGEST)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        said = log.read_text()
        assert code == 0, said[-8_000:]
        return said

    def test(self, dag: str, **params: Any) -> str:
        """Runs a DAG to its end, without a scheduler."""
        return self.run("dags", "test", dag, "--conf", json.dumps(params))


@pytest.fixture
def airflow(services: Services, api: str, tmp_path: Path) -> Airflow:
    """Airflow beside the services, as an administrator sets it up."""
    assert api == services.environment["ASSAY_API__URL"]
    told = services.environment | {"CANARY_PASSWORD": _CANARY}
    own = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"}
    made = Airflow(
        {name: each for name, each in os.environ.items() if name not in own}
        | {
            "AIRFLOW_HOME": str(tmp_path),
            "AIRFLOW__CORE__DAGS_FOLDER": str(_PROJECT / "dags"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_ASSAY": json.dumps({"conn_type": "generic", "extra": told}),
            "DOCKER_HOST": services.engine.url,
            "ASSAY_BATCH_IMAGE": "assay-batch:test",
            "ASSAY_CLI_IMAGE": "assay-cli:test",
            "ASSAY_NETWORK": "host",
            "ASSAY_CONTRACTS": str(ROOT / "contracts"),
        }
    )
    made.run("db", "migrate")
    assert services.run("cli", "migrate").code == 0
    return made


def _files(services: Services, bucket: str, names: Sequence[str], records: int) -> None:
    for seed, name in enumerate(names):
        services.objects.write(f"s3://{bucket}/{name}", samples.csv(records, seed=seed))


def test_files_are_classified(
    services: Services, airflow: Airflow, bucket: str, tmp_path: Path
) -> None:
    """A container for each, and the counts of all once the books balance; then nothing is left."""
    names = ("in/a.csv", "in/{{ 7*7 }}.csv", "in/b [1]*.csv")
    _files(services, bucket, names, 500)
    prefix = f"s3://{bucket}/in/"
    told = airflow.test("classify_transactions", prefix=prefix, archive=True)
    counts = re.search(r"counts of all: (\{.*\})", told)
    assert counts is not None, told[-6_000:]
    found = json.loads(counts[1])
    assert (found["files"], found["read"]) == (3, 1_500)
    assert found["classified"] + found["rejected"] + found["duplicate"] == 1_500
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as database:
        ((extra,),) = database.execute("SELECT extra FROM asset_event").fetchall()
    assert json.loads(extra) == found
    books = services.run("cli", "reconcile", "--json")
    assert (books.code, books.summary["balanced"]) == (0, True)
    left = [each.uri for each in services.objects.list(f"s3://{bucket}/in/")]
    assert left == []
    again = airflow.test("classify_transactions", prefix=prefix)
    assert "counts of all" not in again
    assert services.engine.client.containers.list(all=True, filters={"label": "assay"}) == []
    written = [told, again, *(each.read_text() for each in tmp_path.rglob("*.log"))]
    hidden = (_CANARY, services.environment["ASSAY_POSTGRES__URL"])
    assert not [each for each in hidden if any(each in text for text in written)]


def test_a_killed_container_is_resumed(services: Services, airflow: Airflow, bucket: str) -> None:
    """The task is tried again, and goes on where it stood: no row is there twice."""
    _files(services, bucket, ["in/a.csv"], 400_000)
    client = services.engine.client
    killed: list[str] = []

    def kill() -> None:
        over = time.monotonic() + 120
        url = services.environment["ASSAY_POSTGRES__URL"]
        with psycopg.connect(url, autocommit=True) as connection:
            while not connection.execute("SELECT 1 FROM ledger LIMIT 1").fetchone():
                assert time.monotonic() < over
                time.sleep(0.05)
        for each in client.containers.list(filters={"label": "assay"}):
            each.kill("SIGKILL")
            killed.append(each.id or "")

    killer = threading.Thread(target=kill)
    killer.start()
    told = airflow.test("classify_transactions", prefix=f"s3://{bucket}/in/")
    killer.join()
    assert killed
    counts = re.search(r"counts of all: (\{.*\})", told)
    assert counts is not None, told[-6_000:]
    books = services.run("cli", "reconcile", "--json")
    assert (books.code, books.summary["balanced"]) == (0, True)
    assert books.summary["read"] == 400_000, books.summary
    assert 0 < json.loads(counts[1])["read"] < 400_000


def test_letters_and_stored_transactions_are_done_again(
    services: Services, airflow: Airflow, bucket: str
) -> None:
    """What cannot succeed stays open; predictions of the same version are duplicates."""
    uri = f"s3://{bucket}/in/a.csv"
    services.objects.write(uri, samples.csv(500, seed=1))
    run = ("batch", "run", uri, "--contract", "/contracts/transactions.odcs.yaml")
    done = services.run("batch", *run, mounts=CONTRACTS)
    rejected = done.summary["rejected"]
    assert rejected > 0, done.err
    told = airflow.test("redrive_dead_letters", codes=[])
    assert f'"rejected":{rejected}' in told.replace(" ", ""), told[-6_000:]
    assert '"balanced": true' in told
    told = airflow.test("rescore")
    assert f'"duplicate":{done.summary["classified"]}' in told, told[-6_000:]
    books = services.run("cli", "reconcile", "--json")
    assert (books.code, books.summary["balanced"]) == (0, True)
