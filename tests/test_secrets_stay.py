"""Secrets are nowhere but where they are used: not in what a run says, writes or keeps."""

import os
import secrets
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Final
from unittest.mock import patch

import psycopg
import pytest
from psycopg import sql
from streams import Stream, many, record, until

from assay_adapters.environment.sections import installed
from assay_adapters.environment.settings import load, made_of, survey

CANARY: Final = f"canary{secrets.token_hex(8)}"

PLANTED: Final[Mapping[str, str]] = {
    "ASSAY_LOG__LEVEL": "debug",
    "ASSAY_API__API_KEY": CANARY,
    "ASSAY_S3__SESSION_TOKEN": CANARY,
    "ASSAY_SEARCH__URL": f"http://somebody:{CANARY}@127.0.0.1:1/",
    "ASSAY_SEARCH__PASSWORD": CANARY,
    "ASSAY_SEARCH__API_KEY": CANARY,
    "ASSAY_SERIES__URL": f"http://127.0.0.1:1/write?db=assay&u=somebody&p={CANARY}",
    "ASSAY_SERIES__KIND": "influxdb",
    "ASSAY_SERIES__TOKEN": CANARY,
    "ASSAY_SERIES__PASSWORD": CANARY,
    "ASSAY_WEBHOOK__URL": f"http://somebody:{CANARY}@127.0.0.1:1/hook?token={CANARY}",
    "ASSAY_WEBHOOK__SECRET": CANARY,
    "ASSAY_SCHEMA_REGISTRY__URL": f"http://somebody:{CANARY}@127.0.0.1:1/",
    "ASSAY_SCHEMA_REGISTRY__PASSWORD": CANARY,
    "ASSAY_KAFKA__SASL_PASSWORD": CANARY,
    "ASSAY_KAFKA__PROPERTIES": f'{{"ssl.key.password": "{CANARY}"}}',
    "ASSAY_SERVER__API_KEYS": f"{CANARY},another",
}
"""What is secret, or may hold it, by itself or within an address."""


@pytest.fixture
def planted(stream: Stream, tmp_path: Path) -> Generator[Stream]:
    """A stream whose settings hold the canary: PostgreSQL's password in a file, others as they are.

    Its database is asked by a role of that password.
    """
    system, role = stream.system, f"role_{secrets.token_hex(4)}"
    owner = system.environment["ASSAY_POSTGRES__URL"]
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} SUPERUSER LOGIN PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(CANARY)
            )
        )
    at = owner.partition("@")[2]
    file = tmp_path / "password"
    file.write_text(f"{CANARY}\n")
    system.environment |= {
        **PLANTED,
        "ASSAY_POSTGRES__URL": f"postgresql://{role}@{at}",
        "ASSAY_POSTGRES__PASSWORD_FILE": str(file),
        "ASSAY_S3__SECRET_ACCESS_KEY": CANARY,  # the emulator looks at the key's name only
    }
    # JSON needs none.
    del system.environment["ASSAY_SCHEMA_REGISTRY__URL"]
    yield stream
    system.environment["ASSAY_POSTGRES__URL"] = owner
    with psycopg.connect(owner, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def rows(url: str) -> Iterator[str]:
    """Every row of every table, as text."""
    with psycopg.connect(url) as connection:
        names = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        for (name,) in names:
            every = sql.SQL("SELECT {0}::text FROM {0}").format(sql.Identifier(name))
            yield from (str(row[0]) for row in connection.execute(every))


def command_lines() -> str:
    """What `ps` shows of all processes."""
    return "".join(
        each.read_bytes().decode(errors="replace")
        for each in Path("/proc").glob("[0-9]*/cmdline")
        if each.exists()
    )


def test_settings_do_not_show_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither as they are printed, nor as `assay config` shows them, nor where they are wrong."""
    planted = {**PLANTED, "ASSAY_POSTGRES__URL": f"postgresql://a:{CANARY}@127.0.0.1:1/assay"}
    environment = {
        **planted,
        "ASSAY_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "ASSAY_API__URL": f"http://somebody:{CANARY}@127.0.0.1:1/",
        "ASSAY_ARCHIVE__URI": "s3://bucket/",
        "ASSAY_LAKE__URI": "s3://bucket/table",
        "ASSAY_S3__ENDPOINT_URL": f"http://somebody:{CANARY}@127.0.0.1:1/",
        "ASSAY_S3__ACCESS_KEY_ID": "assay",
        "ASSAY_S3__SECRET_ACCESS_KEY": CANARY,
    }
    for name in [each for each in os.environ if each.startswith("ASSAY_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load(made_of(installed()))
    assert CANARY not in repr(settings) + str(settings)
    found = survey(installed())
    assert not found.problems
    assert CANARY not in repr(found)
    for name in planted:
        with patch.dict(os.environ, {name: f"\x7f {CANARY}"}):
            assert CANARY not in repr(survey(installed()))


def test_a_run_leaves_no_secret_behind(planted: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output, logs, `ps`, tables, topics, objects, health and metrics; also of what fails.

    Each service has all of them in its settings, and tells of everything in its log.
    """
    monkeypatch.setenv("PGPASSWORD", CANARY)  # of what this test asks itself
    system = planted.system
    planted.make()
    planted.put(*many(20), record("wrong", amount="wrong"), b"broken")
    system.put("inbox/day.csv", b"id;description\nt-1;CORNER BISTRO\n")
    idle = ("--until-idle", "0.3", "--reject-limit", "1")
    files = (system.uri("inbox/"), "--contract", str(system.contract("transactions")))
    no_file = {"ASSAY_POSTGRES__PASSWORD_FILE": ""}
    nobody = f"postgresql://nobody:{CANARY}@127.0.0.1:1/none"
    commands: list[tuple[tuple[str, ...], Mapping[str, str]]] = [
        (("stream", "dead-letters", "--once", "--no-retry"), {}),
        (("stream", "classify", *idle), {}),
        (("batch", "run", *files), {}),
        (("rescore", "--dry-run"), {}),
        (("reconcile",), {}),
        (("dead-letters", "list"), {}),
        (("config",), {}),
        (("doctor",), {}),
        (("connect", "status"), {}),
        (("connect", "webhook", *idle[:2]), {}),
        (("connect", "search", *idle[:2]), {}),
        (("connect", "series", *idle[:2]), {}),
        (("migrate",), {"ASSAY_POSTGRES__URL": nobody, **no_file}),
        (("migrate",), {"ASSAY_POSTGRES__URL": f"postgresql://a:{CANARY}@[bad", **no_file}),
        (("reconcile",), {"ASSAY_POSTGRES__PASSWORD": f"{CANARY}-wrong", **no_file}),
        (("doctor",), {"ASSAY_API__URL": f"nonsense:{CANARY}"}),
        (("config",), {"ASSAY_KAFKA__PROPERTIES": f"{{{CANARY}"}),
    ]
    done = planted.consume()
    assert done.exit_code == 0, done.errors
    began = [system.fork(*words, **settings) for words, settings in commands]
    said = command_lines()
    with planted.service() as running:
        until(lambda: bool(system.query("SELECT 1 FROM runs WHERE run_id = %s", running.run_id)))
        said += "".join(
            running.asked(at)[1] for at in ("/health/ready", "/health/live", "/metrics")
        )
    until(lambda: not any(each.process.is_alive() for each in began[:9]), 90)
    for one in began:
        one.process.terminate()  # connectors wait for their targets
        one.end()
    outputs = [each.out.read_text() + each.err.read_text() for each in began]
    for suffix in ("dead", "events", "predictions", "ledger"):
        said += "".join(
            f"{each.key()!r}{each.value()!r}{each.headers()}" for each in planted.on(suffix)
        )
    said += "".join(rows(system.environment["ASSAY_POSTGRES__URL"]))
    for item in system.objects.list(system.uri("")):
        said += item.uri + b"".join(system.objects.read(item)).decode(errors="replace")
    for (words, _), output in zip(commands, outputs, strict=True):
        assert output, words
        assert CANARY not in output, words
    assert CANARY not in said + done.errors


def test_a_crash_shows_no_secret(planted: Stream) -> None:
    """Its traceback has lines of code, and no values."""
    crash = (
        "import sys\nfrom unittest.mock import patch\nfrom assay_cli.main import main\n"
        "sys.argv = ['assay', 'reconcile']\n"
        "with patch('assay_adapters.postgres.connection._options', side_effect=KeyError('boom')):\n"
        "    main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", crash],
        env=planted.system.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "boom" in done.stderr
    assert CANARY not in done.stdout + done.stderr
