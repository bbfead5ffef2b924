"""The main job while its servers fail: nothing is lost or doubled, and exit codes tell."""

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from demo.samples import csv
from system import Done, System

from assay_local import Local, databases

RECORDS = 12_000
SMALL = {"ASSAY_BATCH__CHUNK_RECORDS": "250"}


def wait_for(condition: Callable[[], Any], *, seconds: float = 60) -> None:
    """Returns once a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def committed(system: System) -> int:
    """Records in the ledger."""
    return system.query("SELECT coalesce(sum(read), 0) FROM ledger")[0][0]


def is_whole(system: System, records: int = RECORDS) -> bool:
    """Whether every record has left through its door, once."""
    ((read, rejected),) = system.query("SELECT sum(read), sum(rejected) FROM ledger")
    ((rows,),) = system.query("SELECT count(*) FROM transactions")
    ((letters,),) = system.query("SELECT count(*) FROM dead_letters")
    return (read, rows, letters) == (records, records - rejected, rejected) and system.balances()


def wide(records: int, *, seed: int) -> bytes:
    """A file that is not read far ahead of what is committed: a kilobyte for each record."""
    head, *lines = csv(records, seed=seed, broken=0.0).splitlines()
    return b"\n".join([head + b";remark", *(line + b";" + b"x" * 1_000 for line in lines)])


@pytest.fixture
def filled(system: System) -> System:
    """A system with one file to be done."""
    system.put("in/a.csv", csv(RECORDS, seed=1))
    return system


def begun(system: System, *arguments: str) -> Any:
    """A run in small chunks that has committed some of them."""
    contract = str(system.contract("transactions"))
    arguments = ("batch", "run", system.uri("in/"), "--contract", contract, *arguments)
    process = system.start(*arguments, **SMALL, ASSAY_API__TIMEOUT="2")
    wait_for(lambda: committed(system) or process.poll() is not None)
    return process


def test_postgres_away_at_the_start(local: Local, filled: System) -> None:
    """The run waits for it, and says so once."""
    local.postgres.kill()
    process = filled.start(
        "batch", "run", filled.uri("in/"), "--contract", str(filled.contract("transactions"))
    )
    assert process.stderr is not None
    assert "waiting for PostgreSQL" in process.stderr.readline()
    local.postgres.start()
    done = filled.end(process)
    assert done.exit_code == 0
    assert "waiting for PostgreSQL" not in done.errors
    assert done.errors.count("PostgreSQL is back") == 1
    assert is_whole(filled)


def test_postgres_killed_in_mid_run(local: Local, filled: System) -> None:
    """What was committed stays, what was not is committed when it is back."""
    process = begun(filled)
    local.postgres.kill()
    time.sleep(4)
    local.postgres.start()
    done = filled.end(process)
    assert done.exit_code == 0, done.errors
    assert is_whole(filled)


def test_the_api_killed_in_mid_run(local: Local, filled: System) -> None:
    """An outage of the model makes no dead letter."""
    process = begun(filled)
    local.api.kill()
    time.sleep(2)
    local.api.start()
    done = filled.end(process)
    assert done.exit_code == 0, done.errors
    assert is_whole(filled)
    assert not filled.query("SELECT 1 FROM dead_letters WHERE stage = 'classify'")


def test_the_api_silent_in_mid_run(local: Local, filled: System) -> None:
    """A model that answers nothing for a while is waited for."""
    process = begun(filled)
    local.api.pause()
    try:
        time.sleep(4)
    finally:
        local.api.resume()
    assert filled.end(process).exit_code == 0
    assert is_whole(filled)
    assert not filled.query("SELECT 1 FROM dead_letters WHERE stage = 'classify'")


def test_patience_ends_and_the_next_run_resumes(local: Local, filled: System) -> None:
    """A model that stays away ends the run with 75; the next one does the rest."""
    process = begun(filled, "--patience", "2s")
    local.api.kill()
    done = filled.end(process)
    local.api.start()
    assert (done.exit_code, done.summary["status"]) == (75, "failed"), done.errors
    assert "away" in done.errors
    assert 0 < committed(filled) < RECORDS
    assert filled.balances()
    again = filled.batch(filled.uri("in/"))
    assert again.exit_code == 0
    assert done.summary["read"] + again.summary["read"] == RECORDS
    assert is_whole(filled)


def test_s3_killed_in_mid_run(local: Local, system: System) -> None:
    """Reading goes on in mid-file when it is back."""
    system.put("in/a.csv", wide(20_000, seed=1))
    process = begun(system)
    local.s3.kill()
    assert process.stderr is not None
    assert any("waiting for the place of the files" in line for line in process.stderr)
    assert 0 < committed(system) < 20_000
    local.s3.start()
    done = system.end(process)
    assert done.exit_code == 0, done.errors
    assert done.errors.count("the place of the files is back") == 1
    assert is_whole(system, 20_000)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(filled: System, number: int) -> None:
    """The run commits what it has read and says that it is to be run again."""
    process = begun(filled)
    process.send_signal(number)
    done = filled.end(process)
    assert (done.exit_code, done.summary["status"]) == (75, "interrupted"), done.errors
    assert done.summary["read"] == committed(filled) < RECORDS
    assert filled.batch(filled.uri("in/")).exit_code == 0
    assert is_whole(filled)


def test_a_signal_while_postgres_is_away(local: Local, filled: System) -> None:
    """The wait ends at once, with the summary as the last line."""
    local.postgres.kill()
    try:
        process = filled.start(
            "batch", "run", filled.uri("in/"), "--contract", str(filled.contract("transactions"))
        )
        assert process.stderr is not None
        assert any("waiting for PostgreSQL" in line for line in process.stderr)
        process.send_signal(signal.SIGTERM)
        done = filled.end(process, timeout=10)
    finally:
        local.postgres.start()
    assert (done.exit_code, done.summary["status"]) == (75, "interrupted"), done.errors


def test_a_file_replaced_while_it_is_read(local: Local, system: System) -> None:
    """The old version's range stays whole and says so; the next run does the new version.

    When the old one is back, what is left of it is done.
    """
    old = wide(15_000, seed=1)
    system.put("in/a.csv", old)
    process = begun(system)
    local.api.pause()
    wait_for(lambda: _stands_still(system))
    system.put("in/a.csv", csv(500, seed=2, broken=0.0))
    local.api.resume()
    done = system.end(process)
    assert (done.exit_code, done.summary["status"]) == (75, "incomplete"), done.errors
    ((left,),) = system.query("SELECT next FROM positions WHERE end_state = 'abandoned'")
    assert 0 < left == committed(system) < 15_000
    assert system.batch(system.uri("in/")).summary["read"] == 500
    assert is_whole(system, left + 500)
    system.put("in/a.csv", old)
    assert system.batch(system.uri("in/")).summary["read"] == 15_000 - left
    assert is_whole(system, 15_000 + 500)


def _stands_still(system: System) -> bool:
    before = committed(system)
    time.sleep(1)
    return committed(system) == before


def test_two_runs_at_once(filled: System) -> None:
    """They share the files; whoever comes second to one leaves it, and the books balance."""
    contract = str(filled.contract("transactions"))
    arguments = ("batch", "run", filled.uri("in/"), "--contract", contract)
    processes = [filled.start(*arguments, **SMALL) for _ in range(2)]
    done = [filled.end(process) for process in processes]
    assert {each.exit_code for each in done} <= {0, 75, 99}
    assert all("another run" in each.errors for each in done if each.exit_code == 75)
    filled.batch(filled.uri("in/"))
    assert is_whole(filled)


def test_missing_migrations(local: Local, filled: System) -> None:
    """It says which command is missing."""
    url = databases.create(local.postgres.url, "flow_without_tables")
    try:
        filled.environment["ASSAY_POSTGRES__URL"] = url
        done = filled.batch(filled.uri("in/"))
    finally:
        databases.drop(local.postgres.url, "flow_without_tables")
    assert done.exit_code == 78
    assert "assay migrate" in done.errors
    assert done.summary["status"] == "failed"


def test_missing_and_unknown_settings(filled: System) -> None:
    """Each variable is named."""
    filled.environment.pop("ASSAY_POSTGRES__URL")
    filled.environment["ASSAY_API__URI"] = "http://127.0.0.1"
    done = filled.batch(filled.uri("in/"))
    assert done.exit_code == 78
    assert "ASSAY_POSTGRES__URL is missing" in done.errors
    assert "ASSAY_API__URI is unknown; did you mean ASSAY_API__URL?" in done.errors


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ASSAY_S3__ACCESS_KEY_ID": "somebody"}, "ASSAY_S3__ACCESS_KEY_ID"),
        (
            {"ASSAY_POSTGRES__URL": "postgresql://assay:wrong@{address}/assay"},
            "ASSAY_POSTGRES__URL",
        ),
    ],
)
def test_wrong_credentials(filled: System, changed: dict[str, str], says: str) -> None:
    """They are not tried again, and the message names the setting and no secret."""
    address = filled.environment["ASSAY_POSTGRES__URL"].partition("@")[2].partition("/")[0]
    filled.environment |= {name: text.format(address=address) for name, text in changed.items()}
    done = filled.batch(filled.uri("in/"))
    assert done.exit_code == 78, done.errors
    assert says in done.errors
    assert "wrong@" not in done.errors


def test_a_contract_that_says_nothing(filled: System) -> None:
    """A contract's problems are told by line before anything is read."""
    done: Done = filled.run("batch", "run", filled.uri("in/"), "--contract", __file__)
    assert done.exit_code == 78
    assert "line" in done.errors
