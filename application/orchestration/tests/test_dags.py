"""The DAGs: they are read without a fault, and their tasks hang together as they should."""

import json
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.docker.exceptions import (
    DockerContainerFailedException,
    DockerContainerFailedSkipException,
)
from airflow.providers.docker.operators.docker import DockerOperator
from airflow.sdk.exceptions import AirflowFailException
from assay_operator import NOTHING_TO_DO, AssayOperator, alert


@pytest.fixture(scope="session")
def dags() -> DagBag:
    """All that Airflow finds in the folder."""
    return DagBag()


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection, as an administrator makes it."""
    extra = {"ASSAY_POSTGRES__URL": "postgresql://assay:canary-1@db/assay"}
    connection = {"conn_type": "generic", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ASSAY", json.dumps(connection))


def test_airflow_reads_all(dags: DagBag) -> None:
    """Three DAGs, and no module that fails."""
    assert dags.import_errors == {}
    assert set(dags.dags) == {"classify_transactions", "redrive_dead_letters", "rescore"}
    for dag in dags.dags.values():
        assert (dag.catchup, dag.max_active_runs, dag.tags) == (False, 1, {"assay"})
        assert dag.on_failure_callback
        assert dag.doc_md


@pytest.mark.parametrize(
    ("name", "edges"),
    [
        (
            "classify_transactions",
            {
                "list": {"commands"},
                "commands": {"classify", "reconcile"},
                "classify": {"reconcile", "total"},
                "reconcile": {"total"},
                "total": {"announce"},
                "announce": set(),
            },
        ),
        (
            "redrive_dead_letters",
            {"command": {"redrive"}, "redrive": {"reconcile"}, "reconcile": set()},
        ),
        ("rescore", {"command": {"rescore"}, "rescore": {"reconcile"}, "reconcile": set()}),
    ],
)
def test_tasks_follow_each_other(dags: DagBag, name: str, edges: dict[str, set[str]]) -> None:
    """As the doc of each says."""
    tasks = dags.dags[name].task_dict
    assert {each: set(task.downstream_task_ids) for each, task in tasks.items()} == edges


def test_each_container_is_bounded(dags: DagBag) -> None:
    """In memory and in number."""
    made = AssayOperator(task_id="x", service="cli")
    assert (made.mem_limit, made.mount_tmp_dir) == ("2g", False)
    mapped = dags.dags["classify_transactions"].get_task("classify")
    assert mapped.max_active_tis_per_dagrun == 4


def test_tasks_are_patient(dags: DagBag) -> None:
    """Mapped ones as well."""
    for dag in dags.dags.values():
        for task in dag.tasks:
            assert (task.retries, task.retry_delay) == (5, timedelta(seconds=30)), task
            assert task.retry_exponential_backoff, task
            assert task.max_retry_delay == timedelta(minutes=15), task


class Docker:
    """What has become of a container."""

    def __init__(self) -> None:
        self.removed: list[str] = []
        self.stopped: list[tuple[str, int]] = []

    def logs(self, name: str, *, stdout: bool, stderr: bool) -> bytes:
        """What it has written."""
        assert (name, stdout, stderr) == ("c1", True, False)
        return b'a line\n{"read": 5}\n'

    def remove_container(self, name: str, *, force: bool) -> None:
        """It is gone."""
        assert force
        self.removed.append(name)

    def stop(self, name: str, timeout: int) -> None:
        """It has heard the signal."""
        self.stopped.append((name, timeout))


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch) -> Docker:
    """One container."""
    made = Docker()
    monkeypatch.setattr(AssayOperator, "cli", made)
    return made


def _run(monkeypatch: pytest.MonkeyPatch, code: int, lines: list[str]) -> str:
    def execute(task: DockerOperator, _: Any) -> list[str]:
        task.container = {"Id": "c1"}
        if code == NOTHING_TO_DO:
            raise DockerContainerFailedSkipException("skipping", logs=lines)
        if code:
            failed = {"StatusCode": code}
            raise DockerContainerFailedException(f"Docker container failed: {failed!r}", logs=lines)
        return lines

    monkeypatch.setattr(DockerOperator, "execute", execute)
    return AssayOperator(task_id="x", service="cli").execute({})


@pytest.mark.parametrize(
    ("code", "raised"),
    [
        (75, DockerContainerFailedException),
        (137, DockerContainerFailedException),
        (143, DockerContainerFailedException),
        (99, DockerContainerFailedSkipException),
        *((code, AirflowFailException) for code in (1, 2, 65, 78)),
    ],
)
def test_only_what_may_pass_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, docker: Docker, code: int, raised: type[Exception]
) -> None:
    """Whatever fails in the same way the next time fails at once, and says why."""
    with pytest.raises(raised) as caught:
        _run(monkeypatch, code, ["one", "error: the last", "  words"])
    if raised is AirflowFailException:
        assert str(caught.value) == f"exit code {code}: error: the last\n  words"
    assert type(caught.value) is raised
    assert docker.removed == ["c1"]


def test_its_value_is_the_summary(monkeypatch: pytest.MonkeyPatch, docker: Docker) -> None:
    """Whatever comes after it on standard error."""
    assert _run(monkeypatch, 0, ['{"read": 5}', '{"event": "late"}']) == '{"read": 5}'
    assert docker.removed == ["c1"]


def test_a_killed_task_lets_its_container_end(docker: Docker) -> None:
    """It has a minute to commit what it has read."""
    task = AssayOperator(task_id="x", service="cli")
    task.on_kill()
    assert docker.stopped == []
    task.container = {"Id": "c1"}
    task.on_kill()
    assert (docker.stopped, docker.removed) == ([("c1", 60)], ["c1"])


def test_a_failed_run_is_posted(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the connection for alerts; without one nothing fails."""
    got: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

    run = SimpleNamespace(dag_id="classify_transactions", run_id="manual__1")
    alert({"dag_run": run})
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("AIRFLOW_CONN_ASSAY_ALERTS", url)
        alert({"dag_run": run})
        server.shutdown()
    (told,) = got
    assert (told["dag_id"], told["run_id"]) == ("classify_transactions", "manual__1")
    assert "has failed" in told["text"]


def test_a_secret_may_be_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Containers get its content; without the file the task fails at once, and says which."""
    given: list[dict[str, str]] = []

    def execute(task: DockerOperator, _: Any) -> None:
        given.append(dict(task._private_environment or {}))
        raise DockerContainerFailedSkipException("skipping", logs=[])

    monkeypatch.setattr(DockerOperator, "execute", execute)
    file = tmp_path / "password"
    told = {"ASSAY_POSTGRES__PASSWORD_FILE": str(file), "ASSAY_API__URL": "http://api"}
    connection = json.dumps({"conn_type": "generic", "extra": told})
    monkeypatch.setenv("AIRFLOW_CONN_ASSAY", connection)
    task = AssayOperator(task_id="x", service="cli")
    with pytest.raises(AirflowFailException, match="connection assay, ASSAY_POSTGRES__PASSWORD_FI"):
        task.execute({})
    file.write_text("canary-2\n")
    with pytest.raises(DockerContainerFailedSkipException):
        task.execute({})
    assert given == [{"ASSAY_POSTGRES__PASSWORD": "canary-2", "ASSAY_API__URL": "http://api"}]


def test_what_it_is_told_is_not_to_be_seen() -> None:
    """No field that Airflow shows, renders or keeps holds it."""
    task = AssayOperator(task_id="x", service="cli", command=["version"])
    shown = {name: getattr(task, name) for name in task.template_fields}
    assert "canary" not in repr(shown)
    assert "canary" not in repr(task.environment)
