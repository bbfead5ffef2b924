"""The page on connectors, followed: what it says to write is found, keeps guarantees and runs."""

import json
import os
import re
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from streams import Stream, record
from system import ASSAY

_PAGE = Path(__file__).parents[1] / "docs" / "connectors.md"
_BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder in which the page's package is installed, as its pyproject.toml says."""
    page = _PAGE.read_text("utf-8")
    blocks = _BLOCK.findall(page[page.index("## Writing one") :])
    (module, test), (entries,) = (
        [text for kind, text in blocks if kind == wanted] for wanted in ("python", "toml")
    )
    site = tmp_path / "site"
    metadata = site / "assay_sqlite-1.0.dist-info"
    metadata.mkdir(parents=True)
    (site / "assay_sqlite.py").write_text(module)
    (site / "test_assay_sqlite.py").write_text(test)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: assay-sqlite\nVersion: 1.0\n")
    groups = tomllib.loads(entries)["project"]["entry-points"]
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in named.items())
        for group, named in groups.items()
    ]
    (metadata / "entry_points.txt").write_text("".join(lines))
    return site


def _python(site: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(site), **environment},
        cwd=site,
        text=True,
        capture_output=True,
        check=False,
    )


def test_it_is_short() -> None:
    """The page promises fifty lines."""
    page = _PAGE.read_text("utf-8")
    module = next(text for _, text in _BLOCK.findall(page[page.index("## Writing one") :]))
    lines = [each for each in module.splitlines() if each.strip()]
    assert len(lines) <= 50


def test_it_keeps_what_every_target_guarantees(site: Path) -> None:
    """Its own tests are the port suite."""
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--rootdir", ".")
    done = _python(site, *words, "test_assay_sqlite.py")
    assert done.returncode == 0, done.stdout
    assert re.search(r"[6-9] passed", done.stdout), done.stdout


def test_it_is_a_command(site: Path) -> None:
    """With its own help, its settings, and the options that all connectors have."""
    done = _python(site, str(ASSAY), "connect", "--help", COLUMNS="80")
    assert "Keep categories in a file of SQLite." in done.stdout
    done = _python(site, str(ASSAY), "connect", "sqlite", "--help", COLUMNS="80")
    assert "--until-idle" in done.stdout
    done = _python(
        site, str(ASSAY), "connect", "sqlite", ASSAY_KAFKA__BOOTSTRAP_SERVERS="127.0.0.1:1"
    )
    assert done.returncode == 78
    assert "ASSAY_SQLITE__FILE is missing" in done.stderr


def test_it_takes_what_was_classified(stream: Stream, site: Path, tmp_path: Path) -> None:
    """With positions of its own: a second run finds nothing to do."""
    stream.make()
    stream.put(record("t-1"), record("t-2"), b"broken")
    idle = ("--until-idle", "0.3", "--reject-limit", "1")
    assert stream.run("stream", "classify", *idle).exit_code == 0
    file = tmp_path / "seen.db"
    for taken in (2, 0):
        done = _python(
            site,
            str(ASSAY),
            "connect",
            "sqlite",
            "--until-idle",
            "0.3",
            **stream.system.environment,
            ASSAY_SQLITE__FILE=str(file),
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["classified"] == taken
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT id FROM seen ORDER BY 1").fetchall() == [
            ("t-1",),
            ("t-2",),
        ]
    connection.close()
