"""`config`, `doctor`, `version`: what is set, and what is wrong with it."""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from assay_adapters.kafka.topics import Copies, Topics
from assay_local.pytest_plugin import S3Settings

Assay = Callable[..., subprocess.CompletedProcess[str]]

_AWAY = "postgresql://somebody:geheim@127.0.0.1:1/books"


def _states(ended: subprocess.CompletedProcess[str]) -> dict[str, str]:
    return {each["check"]: each["state"] for each in json.loads(ended.stdout)["checks"]}


def _digest_of_the_lock() -> str:
    lock = Path(__file__).parents[3] / "uv.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:12]


def test_versions_are_those_that_are_installed(assay: Assay) -> None:
    """Ours, Python's and those of the libraries, for people and as JSON."""
    found = json.loads(assay("version", "--json").stdout)
    assert found["assay"]
    assert found["python"] == sys.version.split()[0]
    assert {"polars", "psycopg", "sqlalchemy", "boto3", "httpx"} <= found["libraries"].keys()
    assert "uvicorn" not in found["libraries"]
    ended = assay("version")
    assert ended.returncode == 0
    assert found["libraries"]["polars"] in ended.stdout


def test_a_checkout_tells_its_commit_and_its_lock(assay: Assay) -> None:
    """As git and the file itself say, whatever the current folder is."""
    git = ("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD")
    head = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    found = json.loads(assay("version", "--json").stdout)["build"]
    assert found["revision"].removesuffix("-dirty") == head
    assert found["lock"] == _digest_of_the_lock()
    ended = assay("version")
    assert head in ended.stdout
    assert found["lock"] in ended.stdout


def test_sources_without_git_tell_their_lock(
    assay: Assay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An archive of the sources has no commit."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = json.loads(assay("version", "--json").stdout)["build"]
    assert found == {"revision": None, "built": None, "lock": _digest_of_the_lock()}


def test_an_image_tells_what_it_was_built_of(
    assay: Assay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What its build has recorded, and nothing that lies beside it."""
    record = {"revision": "3f9a41c", "built": "2026-11-27T15:00:00Z", "lock": "0123456789ab"}
    (tmp_path / "build.json").write_text(json.dumps(record))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert json.loads(assay("version", "--json").stdout)["build"] == record
    ended = assay("version")
    assert all(value in ended.stdout for value in record.values())


def test_settings_are_shown_with_their_origin_and_without_secrets(
    assay: Assay, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The environment goes before `.env`; a password, key or token is in no output."""
    monkeypatch.setenv("ASSAY_POSTGRES__URL", _AWAY)
    monkeypatch.setenv("ASSAY_API__API_KEY", "sesam")
    monkeypatch.setenv("ASSAY_LOG__LEVEL", "debug")
    (tmp_path / ".env").write_text(
        "ASSAY_API__URL=http://me:secretly@127.0.0.1:1\nASSAY_LOG__LEVEL=info\n"
        "ASSAY_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:1\nASSAY_KAFKA__SASL_PASSWORD=kennwort\n"
        "ASSAY_S3__ACCESS_KEY_ID=somebody\nASSAY_S3__SECRET_ACCESS_KEY=verborgen\n"
        "ASSAY_S3__SESSION_TOKEN=fluechtig\nASSAY_SERVER__API_KEYS=losung,parole\n"
    )
    for words in (["config"], ["config", "--json"], ["doctor"], ["doctor", "--json"], ["migrate"]):
        ended = assay(*words)
        for secret in (
            "geheim",
            "sesam",
            "secretly",
            "verborgen",
            "fluechtig",
            "losung",
            "kennwort",
        ):
            assert secret not in ended.stdout + ended.stderr
    document = json.loads(assay("config", "--json").stdout)
    assert document["problems"] == []
    rows = {row["name"]: (row["value"], row["origin"]) for row in document["settings"]}
    assert rows["ASSAY_LOG__LEVEL"] == ("debug", "environment")
    assert rows["ASSAY_S3__ACCESS_KEY_ID"] == ("somebody", ".env")
    assert rows["ASSAY_POSTGRES__POOL_SIZE"] == ("5", "default")
    assert rows["ASSAY_SERVER__API_KEYS"] == ("**********,**********", ".env")
    assert {"ASSAY_BATCH__WORKERS", "ASSAY_SERVER__PORT"} <= rows.keys()
    assert assay("config").returncode == 0


def test_wrong_settings_are_named_and_the_others_shown(
    assay: Assay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, ill-typed and unknown variables, each once; exit 78."""
    monkeypatch.setenv("ASSAY_LOG__LEVEL", "loud")
    monkeypatch.setenv("ASSAY_S4__REGION", "x")
    ended = assay("config", "--json")
    assert ended.returncode == 78
    problems = json.loads(ended.stdout)["problems"]
    assert len(problems) == len(set(problems))
    for name in ("ASSAY_POSTGRES__URL", "ASSAY_API__URL", "ASSAY_LOG__LEVEL", "ASSAY_S4__REGION"):
        assert any(each.startswith(name) for each in problems)
    monkeypatch.delenv("ASSAY_S4__REGION")
    ended = assay("config")
    assert ended.returncode == 78
    assert "ASSAY_S3__REGION" in ended.stdout
    assert "ASSAY_POSTGRES__URL is missing" in ended.stderr


@pytest.mark.parametrize(
    "words",
    [["migrate"], ["reconcile"], ["dead-letters", "list"], ["dead-letters", "show", "1"]],
    ids=" ".join,
)
def test_a_command_without_its_settings_names_them(assay: Assay, words: list[str]) -> None:
    """Exit 78 and the variable, and nothing on standard output, with --json or without."""
    for flags in ([], ["--json"]):
        ended = assay(*words, *flags)
        assert ended.returncode == 78
        assert "ASSAY_POSTGRES__URL is missing" in ended.stderr
        assert not ended.stdout


@pytest.mark.parametrize(
    "words",
    [["migrate"], ["reconcile"], ["dead-letters", "list"], ["dead-letters", "show", "1"]],
    ids=" ".join,
)
def test_a_command_without_its_database_may_be_tried_again(
    assay: Assay, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """Where PostgreSQL does not answer the exit code is 75."""
    monkeypatch.setenv("ASSAY_POSTGRES__URL", _AWAY)
    ended = assay(*words)
    assert ended.returncode == 75
    assert "PostgreSQL is away" in ended.stderr


@pytest.fixture
def topics(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All topics are there, as far as the doctor sees."""
    del kafka

    def made(_: Topics, names: Iterable[str]) -> list[Copies]:
        return [Copies(each, 3, (), (), ()) for each in names]

    monkeypatch.setattr(Topics, "copies", made)


@pytest.mark.usefixtures("model", "engine", "topics")
def test_the_doctor_finds_all_well(assay: Assay, s3: S3Settings, bucket: str) -> None:
    """Everything that Assay needs is there: exit 0, in 80 columns."""
    del s3
    ended = assay("doctor", "--bucket", bucket, "--json")
    assert ended.returncode == 0
    document = json.loads(ended.stdout)
    assert document["status"] == "ok"
    found = {each["check"]: (each["state"], each["detail"]) for each in document["checks"]}
    assert {state for state, _ in found.values()} == {"ok"}
    assert found["model"][1] == "linear 7"
    assert found["postgres"][1].startswith("PostgreSQL 18")
    assert found["kafka"][1] == "Kafka answers; 1 broker"
    ended = assay("doctor", "--bucket", bucket)
    assert ended.returncode == 0
    assert "All is well." in ended.stdout
    assert all(len(line) <= 80 for line in ended.stdout.splitlines())


@pytest.mark.parametrize(
    ("copies", "state", "detail"),
    [
        (Copies("transactions", 3, (), (), (0, 2)), "warn", "should be: transactions 0, 2"),
        (Copies("transactions", 3, (), (2,), (0, 2)), "warn", "nothing comes in: transactions 2"),
        (Copies("transactions", 3, (1,), (2,), (0, 2)), "fail", "comes or goes: transactions 1"),
    ],
)
def test_the_doctor_misses_brokers(
    assay: Assay, monkeypatch: pytest.MonkeyPatch, copies: Copies, state: str, detail: str
) -> None:
    """Partitions without a leader are a failure, copies that are not in sync a warning."""
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")

    def brokers(_: Topics) -> int:
        return 2

    def told(_: Topics, __: object) -> list[Copies]:
        return [copies]

    monkeypatch.setattr(Topics, "brokers", brokers)
    monkeypatch.setattr(Topics, "copies", told)
    found = {each["check"]: each for each in json.loads(assay("doctor", "--json").stdout)["checks"]}
    assert found["topics"]["state"] == state
    assert detail in found["topics"]["detail"]
    assert found["topics"]["advice"].startswith("start the brokers")


@pytest.mark.usefixtures("kafka")
def test_the_doctor_misses_topics(assay: Assay) -> None:
    """One that the settings name and that is not there is a warning, and what makes it is named."""
    found = {each["check"]: each for each in json.loads(assay("doctor", "--json").stdout)["checks"]}
    assert found["topics"]["state"] == "warn"
    missing = "errors, failed-transactions, ledger, predictions, transactions"
    assert found["topics"]["detail"] == f"not there: {missing}"
    assert found["topics"]["advice"].startswith("`assay stream topics` makes them")


@pytest.mark.usefixtures("model", "engine", "kafka")
def test_the_doctor_asks_for_a_bucket(assay: Assay, s3: S3Settings, bucket: str) -> None:
    """Without one S3 is reached and a warning says how to go on; a missing one is 78."""
    del s3, bucket
    ended = assay("doctor", "--json")
    assert ended.returncode == 0
    assert _states(ended)["s3"] == "warn"
    assert "--bucket NAME" in ended.stdout
    ended = assay("doctor", "--bucket", "not-there", "--json")
    assert ended.returncode == 78
    assert "there is no such bucket" in ended.stdout


@pytest.mark.usefixtures("model", "s3", "empty", "topics")
def test_the_doctor_says_what_to_do_about_missing_tables(assay: Assay, bucket: str) -> None:
    """Exit 78, and the command that helps."""
    ended = assay("doctor", "--bucket", bucket, "--json")
    assert ended.returncode == 78
    states = _states(ended)
    assert states.pop("migrations") == "fail"
    assert set(states.values()) == {"ok"}
    assert "run `assay migrate`" in ended.stdout


def test_the_doctor_goes_on_when_all_is_away(assay: Assay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each dependency that is away is named with what to do; exit 75, and soon."""
    monkeypatch.setenv("ASSAY_POSTGRES__URL", _AWAY)
    monkeypatch.setenv("ASSAY_API__URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", "127.0.0.1:1")
    monkeypatch.setenv("ASSAY_S3__ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("ASSAY_S3__ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("ASSAY_S3__SECRET_ACCESS_KEY", "verborgen")
    begin = time.monotonic()
    ended = assay("doctor", "--bucket", "cards", "--json")
    assert time.monotonic() - begin < 20
    assert ended.returncode == 75
    states = _states(ended)
    assert [states[name] for name in ("postgres", "s3", "model", "kafka")] == ["fail"] * 4
    assert states["migrations"] == "warn"
    advice = [each["advice"] for each in json.loads(ended.stdout)["checks"]]
    assert sum("or unset it for a local one: `assay up " in (each or "") for each in advice) == 4


@pytest.mark.usefixtures("model", "engine", "s3", "topics")
def test_a_variable_that_nobody_knows_hides_no_other_check(
    assay: Assay, monkeypatch: pytest.MonkeyPatch, bucket: str
) -> None:
    """An unknown section or variable fails the check of settings alone, and the commands."""
    monkeypatch.setenv("ASSAY_S4__REGION", "x")
    monkeypatch.setenv("ASSAY_S3__REGIN", "x")
    monkeypatch.setenv("ASSAY_POSTGRES__TIMEOUT", "x")
    monkeypatch.setenv("ASSAY_SERVER__PROT", "x")
    ended = assay("doctor", "--bucket", bucket, "--json")
    assert ended.returncode == 78
    checks = json.loads(ended.stdout)["checks"]
    wrong = [each["detail"].split()[0] for each in checks if each["check"] == "settings"]
    assert wrong == [
        "ASSAY_POSTGRES__TIMEOUT",
        "ASSAY_S3__REGIN",
        "ASSAY_S4__REGION",
        "ASSAY_SERVER__PROT",
    ]
    assert {each["state"] for each in checks if each["check"] != "settings"} == {"ok"}
    assert "did you mean ASSAY_SERVER__PORT?" in ended.stdout
    assert assay("reconcile").returncode == 78


def test_the_doctor_checks_the_settings_of_all_services(
    assay: Assay, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the batch service and of the model API, too."""
    monkeypatch.setenv("ASSAY_BATCH__WORKERS", "many")
    monkeypatch.setenv("ASSAY_SERVER__PORT", "http")
    ended = assay("doctor")
    assert ended.returncode == 78
    assert "ASSAY_BATCH__WORKERS: must be a whole number" in ended.stdout
    assert "ASSAY_SERVER__PORT: must be a whole number" in ended.stdout
    assert ended.stdout.count("→ mend it") == 1


def test_the_doctor_does_not_wait_for_the_silent(
    assay: Assay, monkeypatch: pytest.MonkeyPatch, silent: str
) -> None:
    """Hosts that accept connections and never answer are given up within seconds, together."""
    monkeypatch.setenv("ASSAY_POSTGRES__URL", f"postgresql://somebody:geheim@{silent}/books")
    monkeypatch.setenv("ASSAY_API__URL", f"http://{silent}")
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", silent)
    monkeypatch.setenv("ASSAY_S3__ENDPOINT_URL", f"http://{silent}")
    monkeypatch.setenv("ASSAY_S3__ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("ASSAY_S3__SECRET_ACCESS_KEY", "verborgen")
    begin = time.monotonic()
    ended = assay("doctor", "--bucket", "cards", "--json")
    assert time.monotonic() - begin < 15
    assert ended.returncode == 75


def test_what_is_misconfigured_counts_more_than_what_is_away(assay: Assay) -> None:
    """Trying again would not help: 78, and what can be checked is checked."""
    Path(".env").write_text(f"ASSAY_POSTGRES__URL={_AWAY}\n")
    ended = assay("doctor", "--bucket", "cards")
    assert ended.returncode == 78
    assert "ASSAY_API__URL is missing" in ended.stdout
    assert "PostgreSQL is away" in ended.stdout
    assert "`assay up postgres` starts a local one" in ended.stdout
    assert "not checked, since settings failed" in ended.stdout


def test_migrations_are_applied_once(assay: Assay, empty: str) -> None:
    """The first run lists what it did, the second finds nothing to do."""
    del empty
    applied = json.loads(assay("migrate", "--json").stdout)["applied"]
    assert applied
    again = assay("migrate", "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout) == {"applied": []}
    assert "Nothing to do" in assay("migrate").stdout


def test_migrations_are_listed_for_people(assay: Assay, empty: str) -> None:
    """One line each."""
    del empty
    ended = assay("migrate")
    assert ended.returncode == 0
    assert "Applied:\n  0001" in ended.stdout


def test_tables_of_a_newer_assay_are_left_alone(assay: Assay, engine: Engine) -> None:
    """Exit 78: an older version does not touch them."""
    with engine.begin() as connection:
        changed = "UPDATE assay_version SET version_num = '9999'"
        connection.execute(text(f"{changed}; COMMENT ON TABLE assay_version IS NULL"))
    for words in (["migrate"], ["reconcile"], ["doctor"]):
        ended = assay(*words)
        assert ended.returncode == 78
    assert "newer Assay" in assay("migrate").stderr
