"""The commands `assay up`, `down`, `status` and `env`, as a user types them."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import typer
from typer.testing import CliRunner

from assay_local import cli, folder, processes

Assay = Callable[..., tuple[int, str, str]]


@pytest.fixture
def assay(project: Path) -> Assay:
    """Runs a command in the project; gives exit code, stdout and stderr."""
    del project
    app = typer.Typer()
    for name in ("up", "down", "status", "env"):
        app.command(name)(getattr(cli, name))

    def run(*words: str) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, words)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result.exit_code, result.stdout, result.stderr

    return run


def servers_of(document: str) -> dict[str, dict[str, Any]]:
    return {row["service"]: row for row in json.loads(document)["servers"]}


def url_in(project: Path) -> str:
    lines = (project / ".env").read_text().splitlines()
    return next(line for line in lines if line.startswith("ASSAY_POSTGRES__URL=")).split("=", 1)[1]


def test_up_starts_everything_and_a_second_up_leaves_it_alone(assay: Assay) -> None:
    """Up starts all services; another up keeps the same processes; status fits 80 columns."""
    code, first, _ = assay("up", "--json")
    assert code == 0
    assert {row["state"] for row in servers_of(first).values()} == {"running"}
    _, second, _ = assay("up", "--json")
    pids = {name: row["pid"] for name, row in servers_of(first).items()}
    assert {name: row["pid"] for name, row in servers_of(second).items()} == pids
    _, out, _ = assay("status")
    assert out.count("running") == 4
    assert "an emulator of S3" in out
    assert max(map(len, out.splitlines())) <= 80


def test_up_starts_only_what_is_asked_for(assay: Assay) -> None:
    """A service that is not named stays down."""
    _, document, _ = assay("up", "api", "--json")
    states = {name: row["state"] for name, row in servers_of(document).items()}
    assert states == {"postgres": "stopped", "s3": "stopped", "kafka": "stopped", "api": "running"}


def test_data_and_addresses_outlive_down(assay: Assay, project: Path) -> None:
    """What was written before `down` is there after `up`, at the same address."""
    assay("up", "postgres")
    url = url_in(project)
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
    process = folder.read(project / ".assay")["postgres"].process
    assert processes.find(process)
    assert assay("down")[:2] == (0, "Stopped postgres.\n")
    assert processes.find(process) is None
    assay("up", "postgres")
    assert url_in(project) == url
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)


def test_wipe_deletes_data_and_block(
    assay: Assay, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a wipe nothing of ours is left, and the user's lines are; a shell must forget it."""
    (project / ".env").write_text("MINE=1\n")
    assay("up", "api", "s3")
    lines = dict(line.split("=", 1) for line in assay("env")[1].splitlines())
    monkeypatch.setenv("ASSAY_S3__ENDPOINT_URL", lines["ASSAY_S3__ENDPOINT_URL"])
    monkeypatch.setenv("ASSAY_API__URL", "http://127.0.0.1:1")  # is another one
    code, out, _ = assay("down", "--wipe")
    assert code == 0
    assert out.endswith("unset ASSAY_S3__ENDPOINT_URL\n")
    assert not (project / ".assay").exists()
    assert (project / ".env").read_text() == "MINE=1\n"


def test_wipe_refuses_a_folder_that_is_not_ours(assay: Assay, project: Path) -> None:
    """A folder without our mark is neither used nor deleted."""
    precious = project / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    assert assay("up", "api", "--data", str(precious))[0] == 78
    assert assay("down", "--wipe", "--data", str(precious))[0] == 78
    assert [path.name for path in precious.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("service", "sign"),
    [
        ("postgres", signal.SIGKILL),
        ("postgres", signal.SIGSTOP),
        ("s3", signal.SIGKILL),
        ("api", signal.SIGSTOP),
    ],
)
def test_up_replaces_what_is_dead_or_does_not_answer(
    assay: Assay, project: Path, service: str, sign: signal.Signals
) -> None:
    """A server that was killed, or hangs, is replaced at the same address."""
    _, document, _ = assay("up", service, "--json")
    before = servers_of(document)[service]
    process = folder.read(project / ".assay")[service].process
    os.kill(before["pid"], sign)
    code, document, _ = assay("up", service, "--json")
    after = servers_of(document)[service]
    assert code == 0
    assert after["state"] == "running"
    assert after["address"] == before["address"]
    assert after["pid"] != before["pid"]
    assert processes.find(process) is None


def test_a_reused_process_number_is_not_taken_for_the_server(assay: Assay, project: Path) -> None:
    """A process that got the number of a dead server is neither kept nor killed."""
    _, document, _ = assay("up", "api", "--json")
    os.kill(servers_of(document)["api"]["pid"], signal.SIGKILL)
    state = json.loads((project / ".assay/state.json").read_text())
    with subprocess.Popen(["/bin/sleep", "600"]) as other:
        state["api"]["process"]["pid"] = other.pid
        state["api"]["process"]["started"] -= 100
        (project / ".assay/state.json").write_text(json.dumps(state))
        assert assay("down")[1] == "No server was running.\n"
        assert assay("up", "api")[0] == 0
        assert other.poll() is None
        other.kill()


def test_a_taken_port_is_changed_and_said(assay: Assay, project: Path) -> None:
    """Where another program has taken the port, the server gets another one, and status says so."""
    assay("up", "api")
    port = folder.read(project / ".assay")["api"].ports[0]
    assay("down")
    with socket.create_server(("127.0.0.1", port)):
        code, document, _ = assay("up", "api", "--json")
        assert code == 0
        assert servers_of(document)["api"]["moved_from"] == port
        assert f"took {port}" in assay("status")[1]
    assert folder.read(project / ".assay")["api"].ports[0] != port


def test_a_server_that_fails_is_reported_with_its_log(assay: Assay, stand_in: Path) -> None:
    """A server that does not come up gives 75, the end of its log and its place; others stay up."""
    stand_in.write_text("raise SystemExit('no model to be found')")
    code, out, error = assay("up", "api", "s3")
    assert code == 75
    assert "no model to be found" in error
    assert ".assay/logs/api.log" in error
    assert "running" in out
    code, out, error = assay("up", "api", "--json")
    assert code == 75
    document = json.loads(out)
    assert document["status"] == "failed"
    assert document["service"] == "api"
    assert document["tail"] == "no model to be found"


def test_a_server_that_has_to_be_mended_gives_78(assay: Assay, stand_in: Path) -> None:
    """As the server itself ends: to run again would not help."""
    stand_in.write_text("print('no model to be found'); raise SystemExit(78)")
    code, _, error = assay("up", "api")
    assert code == 78
    assert "no model to be found" in error


def test_an_unknown_service_is_a_setting_error(assay: Assay, project: Path) -> None:
    """A misspelt service gives 78 with the names there are, and leaves no folder behind."""
    code, _, error = assay("up", "postgre")
    assert code == 78
    assert "postgres, s3, kafka, api" in error
    assert not (project / ".assay").exists()


def test_a_server_named_by_the_environment_is_used(
    assay: Assay, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that a variable names is not started, and where it is away that is no success."""
    monkeypatch.setenv("ASSAY_POSTGRES__URL", "postgresql://me@127.0.0.1:1/mine")
    code, _, error = assay("up", "postgres")
    assert code == 75
    assert "unset ASSAY_POSTGRES__URL" in error
    code, document, _ = assay("up", "postgres", "--json")
    assert code == 75
    row = servers_of(document)["postgres"]
    assert row["state"] == "external, unreachable"
    assert row["address"] == "127.0.0.1:1"
    assert not (project / ".env").exists()
    monkeypatch.delenv("ASSAY_POSTGRES__URL")
    with socket.create_server(("127.0.0.1", 0)) as server:
        (project / ".env").write_text(
            f"ASSAY_API__URL=http://127.0.0.1:{server.getsockname()[1]}\n"
        )
        _, document, _ = assay("up", "api", "--json")
    assert servers_of(document)["api"]["state"] == "external"


def test_a_kafka_named_by_the_environment_is_used(
    assay: Assay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses without a scheme are understood; one of several that listens is enough."""
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    code, _, error = assay("up", "kafka")
    assert code == 75
    assert "unset ASSAY_KAFKA__BOOTSTRAP_SERVERS" in error
    with socket.create_server(("127.0.0.1", 0)) as server:
        named = f"127.0.0.1:1,127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", named)
        code, document, _ = assay("up", "kafka", "--brokers", "3", "--json")
    assert code == 0
    rows = servers_of(document)
    assert (rows["kafka"]["state"], rows["kafka"]["address"]) == ("external", named)
    assert "kafka-2" not in rows


def test_a_cluster_is_started_kept_and_wiped(assay: Assay, project: Path) -> None:
    """Three brokers have a row each, all of them are in the address, and their number stays."""
    code, first, error = assay("up", "kafka", "--brokers", "3", "--json")
    assert (code, error) == (0, "")
    brokers = {name: row for name, row in servers_of(first).items() if name.startswith("kafka")}
    assert list(brokers) == ["kafka", "kafka-2", "kafka-3"]
    assert {row["state"] for row in brokers.values()} == {"running"}
    addresses = ",".join(row["address"] for row in brokers.values())
    assert assay("env")[1] == f"ASSAY_KAFKA__BOOTSTRAP_SERVERS={addresses}\n"
    code, _, error = assay("up", "kafka", "--brokers", "1")
    assert code == 78
    assert "assay down --wipe" in error
    _, second, _ = assay("up", "kafka", "--json")
    pids = {name: row["pid"] for name, row in servers_of(second).items() if name in brokers}
    assert pids == {name: row["pid"] for name, row in brokers.items()}
    assert assay("down", "--wipe")[1].startswith("Stopped kafka, kafka-2, kafka-3.")
    assert not (project / ".assay").exists()
    assert [row for row in servers_of(assay("status", "--json")[1]) if "-" in row] == []


def test_the_api_follows_the_registry_that_is_named_now(
    assay: Assay, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It obeys .env as the commands do, is started anew when that changes, and `up` says so."""
    assay("up", "api")
    _, document, _ = assay("status", "--json")
    assert servers_of(document)["api"]["obeys"] == {}
    before = servers_of(document)["api"]["pid"]
    (project / ".env").write_text("ASSAY_MODELS__REGISTRY=/srv/models\n")
    code, out, error = assay("up", "api")
    assert code == 0
    assert "api was started anew, since its settings have changed." in error
    assert "api obeys ASSAY_MODELS__REGISTRY=/srv/models" in out
    _, document, _ = assay("up", "api", "--json")
    after = servers_of(document)["api"]
    assert after["pid"] != before
    assert after["obeys"] == {"ASSAY_MODELS__REGISTRY": "/srv/models"}
    _, document, _ = assay("up", "api", "--json")
    assert servers_of(document)["api"]["pid"] == after["pid"]
    monkeypatch.setenv("ASSAY_MODELS__REGISTRY", "/srv/others")
    assert "api obeys ASSAY_MODELS__REGISTRY=/srv/others" in assay("up", "api")[1]


def test_exported_addresses_of_our_own_are_not_external(
    assay: Assay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `env --export` put into the shell does not keep the next `up` from working."""
    assay("up", "api")
    line = assay("env", "--export")[1].strip()
    name, value = line.removeprefix("export ").split("=", 1)
    monkeypatch.setenv(name, value)
    assay("down")
    _, document, _ = assay("up", "api", "--json")
    assert servers_of(document)["api"]["state"] == "running"


def test_env_prints_what_env_file_holds(assay: Assay, project: Path) -> None:
    """`env` prints the lines of the block; without a running server it gives 75."""
    assert assay("env")[0] == 75
    assay("up", "s3")
    lines = assay("env")[1].splitlines()
    assert (project / ".env").read_text().splitlines()[1:-1] == lines
    assert [line.split("=")[0] for line in lines] == [
        "ASSAY_S3__ENDPOINT_URL",
        "ASSAY_S3__ACCESS_KEY_ID",
        "ASSAY_S3__SECRET_ACCESS_KEY",
        "ASSAY_S3__REGION",
    ]


def test_secrets_are_for_the_owner_only(assay: Assay, project: Path) -> None:
    """Nobody else may read the state or the .env that we made; the password is not on a command."""
    _, document, _ = assay("up", "postgres", "--json")
    for path in (project / ".env", project / ".assay/state.json"):
        assert path.stat().st_mode & 0o077 == 0
    secret = folder.read(project / ".assay")["postgres"].secret
    process = psutil.Process(servers_of(document)["postgres"]["pid"])
    assert secret not in " ".join(process.cmdline())
    wrong = url_in(project).replace(secret, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
