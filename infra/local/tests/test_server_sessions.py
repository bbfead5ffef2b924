"""Servers of a `with servers(...)` block: with it they come and go, whatever happens."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from assay_local import LocalError, SetupError, folder, processes, servers
from assay_local.local import down, up

Script = Callable[[str], "subprocess.Popen[str]"]


def hold(*names: str, then: str = "import time; time.sleep(600)") -> str:
    """A script that starts servers, prints their process numbers, and then does something."""
    return f"""
import json, os
from pathlib import Path
from assay_local import servers
names = {names}
with servers(*names, data=Path(".assay"), durable=False) as local:
    print(json.dumps([getattr(local, name).process.pid for name in names]), flush=True)
    {then}
"""


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent to notice its end does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def family(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """The servers that a script says it has started, with all their children, and their guards."""
    assert process.stdout is not None
    pids: list[int] = json.loads(process.stdout.readline())
    found = psutil.Process(process.pid).children(recursive=True)
    assert set(pids) <= {member.pid for member in found}
    return found


def test_servers_end_with_the_block(project: Path) -> None:
    """At the end of the block no server is left, and data without a folder of its own neither."""
    with servers("postgres", "s3", "api", durable=False) as local:
        running = [local.postgres.process, local.s3.process, local.api.process]
        place = local.data
        assert local.settings["ASSAY_POSTGRES__URL"] == local.postgres.url
    assert not any(process and alive(process.pid) for process in running)
    assert not place.exists()
    assert not (project / ".env").exists()


def test_a_server_starts_when_it_is_first_asked_for(project: Path) -> None:
    """Nothing is started that is not needed."""
    with servers(data=project / ".assay") as local:
        assert folder.read(local.data) == {}
        assert local.api.answers()
        assert list(folder.read(local.data)) == ["api"]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_the_process(script: Script, sign: signal.Signals) -> None:
    """Kill -9, a termination or Ctrl-C of the process ends its servers and all they started."""
    process = script(hold("postgres", "s3", "api"))
    members = family(process)
    process.send_signal(sign)
    process.wait()
    assert processes.wait_gone(members, 10)


def test_nothing_outlives_the_process_though_a_fork_does(script: Script, project: Path) -> None:
    """A forked child of the dead process keeps no server alive, nor the folder in use."""
    then = "(fork := os.fork()) and print(fork, flush=True); import time; time.sleep(600)"
    process = script(hold("s3", "api", then=then))
    members = family(process)
    assert process.stdout is not None
    fork = int(process.stdout.readline())
    process.kill()
    process.wait()
    try:
        assert processes.wait_gone([each for each in members if each.pid != fork], 10)
        assert alive(fork)
        assert down(data=project / ".assay", wipe=True) == []
    finally:
        processes.kill_all([psutil.Process(fork)])


def test_a_frozen_server_does_not_outlive_the_process(script: Script) -> None:
    """A server that the process has paused is ended all the same."""
    then = "local.s3.pause(); print(1, flush=True); import time; time.sleep(600)"
    process = script(hold("s3", then=then))
    members = family(process)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.wait()
    assert processes.wait_gone(members, 10)


def test_the_next_up_follows_a_killed_session(script: Script, project: Path) -> None:
    """After kill -9 of a session its folder can be used at once, and its data are there."""
    process = script(hold("postgres"))
    members = family(process)
    process.kill()
    process.wait()
    processes.wait_gone(members, 10)
    with servers("postgres", data=project / ".assay") as local:
        psycopg.connect(local.postgres.url).close()


def test_a_killed_up_leaves_nothing(script: Script, project: Path, stand_in: Path) -> None:
    """When `up` is killed before all are up, those that it started end as well."""
    stand_in.write_text("import time; print('hanging', flush=True); time.sleep(600)")
    process = script(
        "import os; from pathlib import Path; from assay_local.local import up;"
        "up('api', data=Path('.assay').absolute(), environment={})"
    )
    log = folder.log(project / ".assay", "api")
    wait_for(lambda: log.exists() and "hanging" in log.read_text())
    members = psutil.Process(process.pid).children(recursive=True)
    assert len(members) == 2
    process.kill()
    process.wait()
    assert processes.wait_gone(members, 10)


def test_concurrent_ups_start_each_server_once(script: Script, project: Path) -> None:
    """Several `up` at the same time end with one server each, the same for all."""
    code = """
from pathlib import Path
from assay_local import folder
from assay_local.local import up
data = Path(".assay").absolute()
up(data=data, environment={})
print({name: entry.process.pid for name, entry in folder.read(data).items()})
"""
    racers = [script(code) for _ in range(3)]
    seen = {racer.communicate()[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert len(seen) == 1
    assert len(down(data=project / ".assay", wipe=False)) == 4


def test_a_session_uses_what_runs_and_leaves_it_running(project: Path) -> None:
    """Servers that `up` started are used by a session, and go on after it."""
    data = project / ".assay"
    up("api", data=data, environment={})
    before = folder.read(data)["api"].process
    with servers("api", data=data) as local:
        assert local.api.entry.process == before
    assert processes.find(before)


def test_a_folder_in_use_by_a_session_is_refused(project: Path) -> None:
    """Who holds the folder is said at once, instead of waiting for the end of a session."""
    data = project / ".assay"
    with servers(data=data), pytest.raises(LocalError, match=f"Process {os.getpid()} is using"):
        down(data=data, wipe=True)
    assert data.exists()


def test_an_external_server_is_used_and_not_touched(project: Path) -> None:
    """What the environment names is handed out as it is, and cannot be stopped or killed."""
    settings = {"ASSAY_S3__ENDPOINT_URL": "https://s3.example", "ASSAY_S3__REGION": "eu-west-1"}
    with servers("s3", data=project / ".assay", environment=settings) as local:
        assert local.s3.settings == settings
        assert local.s3.start() == "external"
        with pytest.raises(SetupError, match="not run by us"):
            local.s3.kill()


def test_an_interrupted_start_is_undone(script: Script, project: Path, stand_in: Path) -> None:
    """Ctrl-C while servers start stops those that are up already."""
    stand_in.write_text("import time; print('hanging', flush=True); time.sleep(600)")
    process = script(hold("postgres", "api"))
    log = folder.log(project / ".assay", "postgres")
    wait_for(lambda: log.exists() and "ready to accept" in log.read_text())
    members = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    process.wait()
    assert processes.wait_gone(members, 10)
