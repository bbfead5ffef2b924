"""Settings come from the environment and `.env`, and what is wrong is named."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, HttpUrl, SecretStr, ValidationError

from assay.domain.errors import Fatal
from assay_adapters.environment.settings import (
    Row,
    Settings,
    describe,
    load,
    load_section,
    survey,
)


class Api(BaseModel, frozen=True):
    url: HttpUrl
    api_key: SecretStr | None = None
    timeout: float = 30.0
    format: Literal["arrow", "json"] = "arrow"


class Postgres(BaseModel, frozen=True):
    url: str
    password: SecretStr


class Log(BaseModel, frozen=True):
    level: str = "info"
    names: tuple[str, ...] = ("a", "b")


class Service(Settings):
    api: Api
    postgres: Postgres
    log: Log = Log()


GIVEN = {
    "ASSAY_API__URL": "http://api.test:8000",
    "ASSAY_POSTGRES__URL": "postgresql://reader:hush@db.test/assay",
    "ASSAY_POSTGRES__PASSWORD": "hush-hush",
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and the variables that the service needs."""
    monkeypatch.chdir(tmp_path)
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def problem() -> str:
    """What loading ends with, which must hold no secret."""
    with pytest.raises(Fatal) as caught:
        load(Service)
    assert caught.value.exit_code == 78
    assert "hush" not in str(caught.value)
    return str(caught.value)


def test_settings_are_read_and_frozen() -> None:
    """Each section has its values, defaults fill the rest, and nothing can be changed."""
    settings = load(Service)
    assert str(settings.api.url) == "http://api.test:8000/"
    assert settings.postgres.password.get_secret_value() == "hush-hush"
    assert settings.log.level == "info"
    with pytest.raises(ValidationError, match="frozen"):
        settings.log = Log()
    with pytest.raises(ValidationError, match="frozen"):
        settings.api.timeout = 1.0  # pyright: ignore[reportAttributeAccessIssue] - what is tested


def test_the_environment_goes_before_the_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`.env` is read in the current directory, and the environment overrides it."""
    (folder / ".env").write_text("ASSAY_API__TIMEOUT=7\nASSAY_LOG__LEVEL=debug\nOTHER=1\n")
    monkeypatch.setenv("ASSAY_API__TIMEOUT", "9")
    settings = load(Service)
    assert (settings.api.timeout, settings.log.level) == (9.0, "debug")


def test_a_setting_may_stand_in_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As secrets that are mounted do; the environment still goes before `.env`."""
    monkeypatch.delenv("ASSAY_POSTGRES__PASSWORD")
    secret = folder / "password"
    secret.write_text("hush of a file \n")
    monkeypatch.setenv("ASSAY_POSTGRES__PASSWORD_FILE", str(secret))
    (folder / ".env").write_text("ASSAY_POSTGRES__PASSWORD=another hush\n")
    settings = load(Service)
    assert settings.postgres.password.get_secret_value() == "hush of a file "
    rows = {row.name: row for row in describe(settings)}
    assert rows["ASSAY_POSTGRES__PASSWORD"].origin == "environment"
    assert "hush" not in rows["ASSAY_POSTGRES__PASSWORD"].value


def test_what_is_wrong_with_a_file_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable that names it, and with nothing of what it holds."""
    monkeypatch.setenv("ASSAY_POSTGRES__PASSWORD_FILE", str(folder / "password"))
    both = "ASSAY_POSTGRES__PASSWORD and ASSAY_POSTGRES__PASSWORD_FILE are both set"
    assert both in problem()
    monkeypatch.delenv("ASSAY_POSTGRES__PASSWORD")
    assert f"PASSWORD_FILE: {folder}/password cannot be read: FileNotFoundError" in problem()
    (folder / "password").write_bytes(b"hush\xff")
    assert "cannot be read: UnicodeDecodeError" in problem()
    monkeypatch.delenv("ASSAY_POSTGRES__PASSWORD_FILE")
    monkeypatch.setenv("ASSAY_POSTGRES__PASWORD_FILE", "x")
    assert "ASSAY_POSTGRES__PASWORD_FILE is unknown" in problem()


def test_every_missing_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a section that is absent, each variable that it cannot be without; and what to do."""
    for name in GIVEN:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ASSAY_API__TIMEOUT", "3")
    said = problem()
    *names, advice = said.splitlines()[1:]
    assert [line.strip() for line in names] == [
        "ASSAY_API__URL is missing",
        "ASSAY_POSTGRES__PASSWORD is missing",
        "ASSAY_POSTGRES__URL is missing",
    ]
    assert f".env in {Path.cwd()}" in advice
    assert "`assay up`" in advice


def test_ill_typed_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what they should be and without what they are."""
    monkeypatch.setenv("ASSAY_API__TIMEOUT", "hush")
    monkeypatch.setenv("ASSAY_API__FORMAT", "xml")
    monkeypatch.setenv("ASSAY_API__URL", "hush")
    said = problem()
    assert "ASSAY_API__TIMEOUT: must be a number" in said
    assert "ASSAY_API__FORMAT: must be 'arrow' or 'json'" in said
    assert "ASSAY_API__URL: must be a URL" in said


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("ASSAY_API__TIMEOT", "ASSAY_API__TIMEOUT"),
        ("ASSAY_API_TIMEOUT", "ASSAY_API__TIMEOUT"),
        ("ASSAY_POSTGRESS__URL", "ASSAY_POSTGRES__URL"),
        ("ASSAY_SEVER__PORT", "ASSAY_SERVER__PORT"),
        ("assay_log__levle", "ASSAY_LOG__LEVEL"),
    ],
)
def test_unknown_variables_are_named(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    """With the one that was meant, of this service or a section of another."""
    monkeypatch.setenv(name, "hush")
    assert f"{name.upper()} is unknown; did you mean {meant}?" in problem()


def test_only_what_there_is_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A section that is like one of this service proposes no variable that it does not have."""
    monkeypatch.setenv("ASSAY_LOGS__QQQQQQQQQQQQQQ", "hush")
    assert "ASSAY_LOGS__QQQQQQQQQQQQQQ is unknown\n" in problem() + "\n"


@pytest.mark.parametrize("name", ["ASSAY_ZZZZ", "ASSAY_QQQQ__X", "ASSAY_LOG", "ASSAY_LOG__QQQQQQ"])
def test_unknown_variables_like_no_other(folder: Path, name: str) -> None:
    """A variable that resembles nothing is unknown all the same, in the file as well."""
    (folder / ".env").write_text(f"{name}=hush\n")
    assert f"{name} is unknown" in problem()


def test_sections_of_other_services_are_theirs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All services may share one file; what is no setting of any is let alone."""
    (folder / ".env").write_text("ASSAY_S3__REGION=x\nASSAY_SERVER__PORT=1\n")
    monkeypatch.setenv("ASSAY_TEST_DATA", "/data")
    monkeypatch.setenv("ASSAYER", "1")
    assert load(Service).log.level == "info"


def test_what_nobody_knows_may_be_let_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown variables spoil neither settings nor section, where one asks for that."""
    monkeypatch.setenv("ASSAY_LOG__LEVLE", "hush")
    monkeypatch.setenv("ASSAY_ZZZZ__X", "hush")
    assert load(Service, strict=False).log.level == "info"
    assert load_section("log", Log, strict=False) == Log()
    with pytest.raises(Fatal, match="ASSAY_ZZZZ__X is unknown"):
        load_section("log", Log)


def test_a_survey_names_all_that_is_wrong_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And describes the sections that can be read, unknown variables or not."""
    monkeypatch.delenv("ASSAY_POSTGRES__URL")
    monkeypatch.setenv("ASSAY_API__TIMEOUT", "hush")
    monkeypatch.setenv("ASSAY_LOG__LEVLE", "hush")
    found = survey({"postgres": Postgres, "log": Log, "api": Api})
    assert [each.split()[0].rstrip(":") for each in found.problems] == [
        "ASSAY_API__TIMEOUT",
        "ASSAY_LOG__LEVLE",
        "ASSAY_POSTGRES__URL",
    ]
    assert {name: [row.name for row in rows] for name, rows in found.sections.items()} == {
        "log": ["ASSAY_LOG__LEVEL", "ASSAY_LOG__NAMES"]
    }


def test_a_survey_of_a_file_that_is_no_text(folder: Path) -> None:
    """It is the one thing that is wrong."""
    (folder / ".env").write_bytes(b"ASSAY_LOG__LEVEL=\xff\xfe\n")
    found = survey({"log": Log, "api": Api})
    assert not found.sections
    assert len(found.problems) == 1
    assert ".env" in found.problems[0]


def test_a_file_that_is_no_text_is_fatal(folder: Path) -> None:
    """A `.env` in another encoding is named."""
    (folder / ".env").write_bytes(b"ASSAY_LOG__LEVEL=\xff\xfe\n")
    assert ".env" in problem()


def test_settings_are_described_without_secrets(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each setting with its value and where it came from; secrets and passwords are blotted out."""
    (folder / ".env").write_text("ASSAY_LOG__LEVEL=debug\n")
    monkeypatch.setenv("ASSAY_API__API_KEY", "hush")
    assert describe(load(Service)) == [
        Row("ASSAY_API__URL", "http://api.test:8000/", "environment"),
        Row("ASSAY_API__API_KEY", "**********", "environment"),
        Row("ASSAY_API__TIMEOUT", "30.0", "default"),
        Row("ASSAY_API__FORMAT", "arrow", "default"),
        Row("ASSAY_POSTGRES__URL", "postgresql://reader:**********@db.test/assay", "environment"),
        Row("ASSAY_POSTGRES__PASSWORD", "**********", "environment"),
        Row("ASSAY_LOG__LEVEL", "debug", ".env"),
        Row("ASSAY_LOG__NAMES", "a,b", "default"),
    ]
