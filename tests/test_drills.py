"""Drills of docs/recovery.md: what was lost comes back, and the books balance."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from demo import samples
from streams import ONCE, Stream, record
from system import System

from assay_local import Local, databases, postgres

Backup = Callable[[], Callable[[], None]]


@pytest.fixture
def backup(system: System, local: Local, tmp_path: Path) -> Backup:
    """Saves the database of the system; what it returns puts all of it back, as it was."""
    url = system.environment["ASSAY_POSTGRES__URL"]
    file = tmp_path / "assay.dump"

    def run(program: str, *words: str) -> None:
        command = [str(postgres.programs() / program), f"--dbname={url}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def save() -> Callable[[], None]:
        run("pg_dump", "--format=custom", f"--file={file}")

        def restore() -> None:
            name = urlsplit(url).path[1:]
            databases.drop(local.postgres.url, name)
            databases.create(local.postgres.url, name)
            run("pg_restore", "--exit-on-error", "--single-transaction", str(file))

        return restore

    return save


def test_a_stream_goes_on_from_a_backup(stream: Stream, backup: Backup) -> None:
    """What was committed after it is read again: rows and positions went back together."""
    records = [*(record(f"t-{number}") for number in range(40)), b"broken"]
    stream.make()
    stream.put(*records[:10], b"broken", partition=0)
    assert stream.consume().summary["read"] == 11
    assert stream.run(*ONCE).summary["published"] == 1
    restore = backup()

    stream.put(*records[10:], partition=0)
    assert stream.consume().summary["read"] == 31
    assert stream.run(*ONCE).summary["published"] == 1
    restore()
    assert stream.system.query("SELECT count(*) FROM transactions") == [(10,)]

    done = stream.consume()
    assert (done.exit_code, done.summary["read"]) == (0, 31), done.errors
    assert stream.run(*ONCE).summary["published"] == 1
    assert stream.system.query("SELECT count(*) FROM transactions") == [(40,)]
    assert stream.balances()
    # Of letters that were published after the backup a second copy is there, under the same id.
    assert sorted(stream.origins().values()) == [1, 2]


def test_files_are_read_again_after_a_restore(system: System, backup: Backup) -> None:
    """Where they stand, or from the archive: what the books have is not there twice."""
    system.put("in/a.csv", samples.csv(300, seed=1))
    system.put("in/b.csv", samples.csv(300, seed=2))
    assert system.batch(system.uri("in/a.csv")).summary["read"] == 300
    restore = backup()
    assert system.batch(system.uri("in/b.csv"), "--archive").summary["read"] == 300
    system.put("in/c.csv", samples.csv(300, seed=3))
    assert system.batch(system.uri("in/c.csv")).summary["read"] == 300
    before = system.query("SELECT transaction_id FROM transactions ORDER BY 1")
    restore()

    again = system.batch(system.uri("in/"))
    assert (again.exit_code, again.summary["read"]) == (0, 300), again.errors  # c
    archived = system.batch(system.uri("archive/"))
    assert (archived.exit_code, archived.summary["read"]) == (0, 300), archived.errors  # b
    assert system.query("SELECT transaction_id FROM transactions ORDER BY 1") == before
    assert system.balances()


def test_what_is_classified_comes_back_from_its_topic(stream: Stream, backup: Backup) -> None:
    """A connector's tables go back to a backup, too, and are filled again from the topic."""
    stream.make()
    restore = backup()
    stream.put(*(record(f"t-{number}") for number in range(25)), partition=1)
    idle = ("--until-idle", "0.3")
    assert stream.run("stream", "classify", *idle).summary["classified"] == 25
    assert stream.run("connect", "postgres", *idle).summary["classified"] == 25
    restore()
    assert stream.run("connect", "postgres", *idle).summary["classified"] == 25
    assert stream.balances()
