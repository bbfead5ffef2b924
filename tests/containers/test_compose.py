"""docker-compose.yml as it is: all that can be had here is brought up by Compose, and used."""

import json
import os
import re
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import psycopg
import pytest
from containers import stand_ins
from containers.engine import ROOT, Engine
from containers.services import TARGETS, free_port
from demo import samples

from assay_adapters.s3.config import S3Config, s3_client
from assay_adapters.s3.objects import S3Objects

pytestmark = [pytest.mark.containers, pytest.mark.timeout(1_200)]

_PORTS = ("POSTGRES", "KAFKA", "KAFKA_2", "KAFKA_3", "S3", "API", "AIRFLOW")
_QUICK = """\
services:
  connector-archive:
    environment: { ASSAY_STREAM__LINGER: "2" }
  connector-lake:
    environment: { ASSAY_STREAM__LINGER: "2" }
"""
"""For these tests: files need not be waited for."""


@dataclass
class Compose:
    """The system of docker-compose.yml, with data and secrets of its own."""

    engine: Engine
    folder: Path
    ports: dict[str, int]
    environment: dict[str, str] = field(default_factory=dict[str, str])

    def __call__(self, *words: str) -> str:
        """Runs Compose with every profile that `COMPOSE_PROFILES` names.

        Returns:
            What it has written to its standard output.
        """
        done = subprocess.run(
            [ROOT / ".venv/bin/docker-compose", "--ansi=never", "--progress=quiet", *words],
            cwd=self.folder,
            env={
                **{name: each for name, each in os.environ.items() if name != "VIRTUAL_ENV"},
                "DOCKER_HOST": self.engine.url,
                "DOCKER_SOCKET": self.engine.url.removeprefix("unix://"),
                "COMPOSE_FILE": "docker-compose.yml:quick.yml",
                "PWD": str(self.folder),
                **{f"{name}_PORT": str(port) for name, port in self.ports.items()},
                **self.environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout[-3_000:]}{done.stderr[-3_000:]}"
        return done.stdout

    def up(self, *services: str, profiles: str = "") -> None:
        """Brings services up, of all profiles named those without a profile, too."""
        self.environment["COMPOSE_PROFILES"] = profiles
        self("up", "--detach", "--no-build", *services)

    def run(self, *command: str, **environment: str) -> dict[str, Any]:
        """Runs a command of `assay`, whose last line is JSON."""
        given = [f"--env={name}={value}" for name, value in environment.items()]
        said = self("run", "--rm", "--no-deps", "--no-TTY", *given, "assay", *command)
        return json.loads(said.splitlines()[-1])

    def secret(self, name: str) -> str:
        """One of the files of secrets."""
        return (self.folder / "secrets" / name).read_text()

    def objects(self) -> S3Objects:
        """What is in S3."""
        return S3Objects(
            s3_client(
                S3Config.model_validate(
                    {
                        "endpoint_url": f"http://127.0.0.1:{self.ports['S3']}",
                        "access_key_id": "assay",
                        "secret_access_key": self.secret("s3_secret_key"),
                        "region": "eu-central-1",
                        "addressing_style": "path",
                    }
                )
            )
        )

    def count(self, of: str, database: str = "assay") -> int:
        """Rows of a query in PostgreSQL."""
        with closing(
            psycopg.connect(
                host="127.0.0.1",
                port=self.ports["POSTGRES"],
                user="assay",
                password=self.secret("postgres_password"),
                dbname=database,
            )
        ) as connection:
            query = f"SELECT count(*) FROM {of}"  # noqa: S608 - our own words
            row = connection.execute(query.encode()).fetchone()
            assert row is not None
            return row[0]

    def codes(self) -> dict[str, int]:
        """How the containers have ended, by service."""
        found = self.engine.client.containers.list(all=True)
        return {
            each.labels["com.docker.compose.service"]: each.attrs["State"]["ExitCode"]
            for each in found
            if "com.docker.compose.service" in each.labels
        }


@pytest.fixture(scope="module")
def images(containers: Engine, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """An engine with all images that these tests use, named as Compose does."""
    stand_ins.build(containers, tmp_path_factory.mktemp("stand-ins"))
    text = stand_ins.COMPOSE.read_text()
    for target in TARGETS:
        for named in set(re.findall(rf"image: (assay-{target}:\S+)$", text, re.MULTILINE)):
            containers.podman("tag", f"assay-{target}:test", named)
    # Airflow has its rights by a group, as Docker gives them.
    Path(containers.url.removeprefix("unix://")).chmod(0o660)
    return containers


@pytest.fixture
def compose(images: Engine, tmp_path: Path) -> Generator[Compose]:
    """A folder as a user prepares it; nothing is left of what ran."""
    shutil.copy(stand_ins.COMPOSE, tmp_path)
    shutil.copytree(ROOT / "contracts", tmp_path / "contracts")
    (tmp_path / "quick.yml").write_text(_QUICK)
    (tmp_path / "secrets").mkdir()
    for name in ("postgres_password", "s3_secret_key", "airflow_secret"):
        (tmp_path / "secrets" / name).write_text(secrets.token_hex(16))
    made = Compose(images, tmp_path, {name: free_port() for name in _PORTS})
    over = threading.Event()
    checks = threading.Thread(target=_check_health, args=(images, over))
    checks.start()
    try:
        yield made
    finally:
        over.set()
        checks.join()
        made.environment["COMPOSE_PROFILES"] = "*"
        made("down", "--volumes", "--timeout=2")


def _check_health(engine: Engine, over: threading.Event) -> None:
    while not over.wait(1):
        for each in engine.podman("ps", "--quiet").split():
            engine.check_health(each)


def _until(reached: Callable[[], object], seconds: float = 120) -> None:
    over = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < over
        time.sleep(0.5)


def test_a_batch_and_a_stream(compose: Compose) -> None:
    """Files and topics are classified, the books balance, and services end as they should."""
    compose.up()
    compose.objects().write("s3://transactions/inbox/a b.csv", samples.csv(2_000, seed=1))
    contract = ("--contract", "/contracts/transactions.odcs.yaml")
    done = compose.run("batch", "run", "s3://transactions/inbox/", *contract, "--archive")
    assert (done["read"], done["status"]) == (2_000, "done")
    (left,) = [each.uri for each in compose.objects().list("s3://transactions/archive/")]
    assert "a b.csv" in left

    compose.up(profiles="stream")
    _until(lambda: compose.count("transactions") > 2_300)
    compose("stop", "trickle", "gusts")
    top = ("run", "--rm", "--no-deps", "--no-TTY", "assay", "top", "--once")
    _until(lambda: "\n0 offsets to come" in compose(*top))
    compose("stop")
    codes = compose.codes()
    assert {"consumer-1", "trickle", "api", "postgres", "migrations"} <= set(codes)
    # Java tells that a signal has ended it.
    assert {name: code for name, code in codes.items() if code} == {"kafka": 143}
    compose("up", "--detach", "--no-build", "postgres", "kafka")
    assert compose.run("reconcile", "--json")["balanced"] is True


def test_a_cluster_and_connectors(compose: Compose) -> None:
    """What is classified reaches tables, archive and lake, also while a broker is lost."""
    compose.environment["KAFKA_BROKERS"] = "3"
    connectors = ("connector-postgres", "connector-archive", "connector-lake")
    compose.up(
        *("kafka", "kafka-2", "kafka-3", "trickle", "gusts", "classifier", *connectors),
        profiles="cluster,connect",
    )
    _until(lambda: compose.count("predictions", "fanout") > 100)
    compose("kill", "kafka-2")
    before = compose.count("predictions", "fanout")
    _until(lambda: compose.count("predictions", "fanout") > before + 200)
    compose("stop", "trickle", "gusts")
    fanout = {"ASSAY_POSTGRES__URL": "postgresql://assay@postgres:5432/fanout"}

    def delivered() -> bool:
        told = compose("run", "--rm", "--no-deps", "assay", "connect", "status")
        return all(line.split()[3] == "0" for line in told.splitlines() if "assay-" in line)

    _until(delivered)
    assert compose.run("reconcile", "--json", **fanout)["balanced"] is True
    store = {
        "aws_access_key_id": "assay",
        "aws_secret_access_key": compose.secret("s3_secret_key"),
        "aws_region": "eu-central-1",
        "aws_endpoint_url": f"http://127.0.0.1:{compose.ports['S3']}",
        "aws_allow_http": "true",
    }
    expected = compose.count("predictions", "fanout")
    archived = pl.scan_parquet("s3://archive/transactions/**/*.parquet", storage_options=store)
    assert archived.select(pl.len()).collect().item() == expected
    lake = pl.scan_delta("s3://lake/transactions", storage_options=store)
    assert lake.select(pl.len()).collect().item() == expected


def test_airflow(compose: Compose, request: pytest.FixtureRequest) -> None:
    """Its scheduler starts batch containers: by time, by an asset from outside; one is stopped."""
    compose.up(profiles="airflow")
    objects = compose.objects()
    objects.write("s3://transactions/inbox/a.csv", samples.csv(2_000, seed=1))
    objects.write("s3://transactions/inbox/b.csv", samples.csv(3_000, seed=2))
    password = re.search(r"Password for user 'admin': (\S+)", compose("logs", "airflow"))
    assert password is not None
    airflow = _Airflow(f"http://127.0.0.1:{compose.ports['AIRFLOW']}", password[1])
    request.addfinalizer(airflow.client.close)

    airflow.client.patch(f"/dags/{_DAG}", json={"is_paused": False}).raise_for_status()
    assert airflow.ended("scheduled")["classify"] == "success"
    assert airflow.announced()["files"] == 2
    assert airflow.announced()["read"] == 5_000

    objects.write("s3://transactions/inbox/c.csv", samples.csv(2_500, seed=3))
    (asset,) = [
        each["id"] for each in airflow.get("/assets")["assets"] if each["name"] == "assay_delivered"
    ]
    airflow.post("/assets/events", {"asset_id": asset, "extra": {}})
    assert airflow.ended("asset_triggered")["classify"] == "success"
    assert airflow.announced()["read"] == 2_500

    objects.write("s3://transactions/inbox/d.csv", samples.csv(1_000_000, seed=4))
    airflow.post(f"/dags/{_DAG}/dagRuns", {"logical_date": None, "conf": {}})
    running = compose.engine.client.containers
    _until(lambda: compose.count("ledger") > 10 and running.list(filters={"label": "assay=batch"}))
    airflow.stop("classify")
    _until(lambda: not running.list(all=True, filters={"label": "assay=batch"}))
    states = airflow.ended("manual")
    assert (states["classify"], states["reconcile"], states["announce"]) == (
        *("failed", "success"),
        "upstream_failed",
    )
    assert compose.run("reconcile", "--json")["balanced"] is True
    contract = ("--contract", "/contracts/transactions.odcs.yaml")
    rest = compose.run("batch", "run", "s3://transactions/inbox/", *contract)
    assert 0 < rest["read"] < 1_000_000
    books = compose.run("reconcile", "--json")
    assert (books["balanced"], books["read"]) == (True, 1_007_500)
    assert compose.count("transactions") == books["classified"]


_DAG = "classify_transactions"


class _Airflow:
    """What its API tells and does."""

    def __init__(self, url: str, password: str) -> None:
        given = {"username": "admin", "password": password}
        token = httpx.post(f"{url}/auth/token", json=given, timeout=30).json()["access_token"]
        header = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=f"{url}/api/v2", headers=header, timeout=30)
        _until(lambda: self.client.get(f"/dags/{_DAG}").is_success)

    def get(self, path: str) -> Any:
        return self.client.get(path).raise_for_status().json()

    def post(self, path: str, body: dict[str, Any]) -> None:
        self.client.post(path, json=body).raise_for_status()

    def ended(self, kind: str) -> dict[str, str]:
        """The states of the tasks of the one run of that kind, once it is over."""

        def found() -> list[dict[str, Any]]:
            runs = self.get(f"/dags/{_DAG}/dagRuns")["dag_runs"]
            return [each for each in runs if each["run_type"] == kind and each["end_date"]]

        _until(found, 240)
        run = found()[0]["dag_run_id"]
        tasks = self.get(f"/dags/{_DAG}/dagRuns/{run}/taskInstances")["task_instances"]
        return {each["task_id"]: each["state"] for each in tasks}

    def announced(self) -> dict[str, Any]:
        """What the latest event of the asset of results says."""
        events = self.get("/assets/events?order_by=-timestamp")["asset_events"]
        return next(each["extra"] for each in events if each["name"] == "assay_classified")

    def stop(self, task: str) -> None:
        """As a person marks a running task as failed."""
        runs = self.get(f"/dags/{_DAG}/dagRuns?order_by=-run_after")["dag_runs"]
        path = f"/dags/{_DAG}/dagRuns/{runs[0]['dag_run_id']}/taskInstances/{task}/0"
        self.client.patch(path, json={"new_state": "failed"}).raise_for_status()
