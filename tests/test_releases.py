"""A release: one version everywhere, a changelog in form, and wheels that work alone."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from email.parser import Parser
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from zipfile import ZipFile

import pytest
import uv
from demo import samples
from packaging.requirements import Requirement
from packaging.version import Version
from system import ROOT

from assay_cli.version import PACKAGES

WORKSPACE: Final = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MEMBERS: Final[list[str]] = WORKSPACE["tool"]["uv"]["workspace"]["members"]


def project(folder: Path) -> dict[str, Any]:
    """What a folder's pyproject.toml says of its project."""
    return tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]


def asked(of: dict[str, Any]) -> Iterator[Requirement]:
    """What a project depends on, by its extras as well."""
    extras: dict[str, list[str]] = of.get("optional-dependencies", {})
    return map(
        Requirement, [*of["dependencies"], *(each for extra in extras.values() for each in extra)]
    )


def changelog(root: Path) -> list[tuple[str, str, str]]:
    """Name, date and content of each section."""
    text = (root / "CHANGELOG.md").read_text("utf-8")
    found = re.split(r"^## (.*)\n", text, flags=re.MULTILINE)[1:]
    sections: list[tuple[str, str, str]] = []
    for heading, content in zip(found[::2], found[1::2], strict=True):
        form = re.fullmatch(r"\[(\S+)\](?: - (\d{4}-\d{2}-\d{2}))?", heading)
        assert form, heading
        sections.append((form[1], form[2] or "", content))
    return sections


def check(root: Path) -> str:
    """Holds that a checkout has one version, and a changelog that goes with it.

    Returns:
        The version.
    """
    version: str = project(root)["version"]
    members = {each["name"]: each for each in (project(root / member) for member in MEMBERS)}
    for name, each in members.items():
        assert each["version"] == version, name
        for requirement in asked(each):
            if requirement.name in members:
                assert str(requirement.specifier) == f"=={version}", f"{name}: {requirement}"
    assert project(root / "application/orchestration")["version"] == version
    for name in (
        "application/orchestration/dags/assay_operator.py",
        "docker-compose.yml",
        "docs/airflow.md",
        "docs/operations.md",
        "infra/docker/Dockerfile",
    ):
        text = (root / name).read_text("utf-8")
        images = re.findall(r"(?:\bassay-[\w${}]+:|ARG VERSION=)(\d[\w.]*)", text)
        assert set(images) == {version}, name
    unreleased, *released = changelog(root)
    assert unreleased[:2] == ("Unreleased", "")
    assert not released or released[0][0] == version
    return version


def test_one_version_stands_everywhere() -> None:
    """All members have it and ask for it of each other, and so do images and changelog."""
    check(ROOT)


def test_members_say_the_same_of_themselves() -> None:
    """Licence, authors, classifiers and Python are those of all, and the ones that CI tests."""
    first, *others = [project(ROOT / member) for member in MEMBERS]
    assert {each["name"] for each in (first, *others)} == set(PACKAGES)
    for each in others:
        for key in ("authors", "classifiers", "license", "license-files", "readme"):
            assert each[key] == first[key], f"{each['name']}: {key}"
        assert each["requires-python"] == project(ROOT)["requires-python"], each["name"]
    prefix = "Programming Language :: Python :: "
    said = [each.removeprefix(prefix) for each in first["classifiers"] if each.startswith(prefix)]
    tested = re.search(r"python: (\[.*\])", (ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    assert tested
    assert json.loads(tested[1]) == said
    assert first["requires-python"] == f">={said[0]}"


def test_the_changelog_is_in_form() -> None:
    """As Keep a Changelog has it: newest first, dated; what was added, changed, … in each, once."""
    sections = changelog(ROOT)
    for name, date, content in sections:
        kinds = re.findall(r"^### (.*)$", content, re.MULTILINE)
        order = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
        assert kinds == [each for each in order if each in kinds], name
        parts = re.split(r"^### .*\n", content, flags=re.MULTILINE)
        assert not parts[0].strip(), f"{name}: what stands under no heading"
        assert all(re.match(r"\n- \S", each) for each in parts[1:]), name
        assert name == "Unreleased" or (date and kinds), name
    for (newer, on, _), (older, before, _) in pairwise(sections[1:]):
        assert Version(newer) > Version(older)
        assert on >= before


def test_a_release_raises_the_version_everywhere(tmp_path: Path) -> None:
    """One command does, locks included; the changelog's section is the release's notes."""
    names = ["pyproject.toml", "uv.lock", "CHANGELOG.md", "docker-compose.yml", ".ci", "docs"]
    for name in (*names, "infra/docker", "application/orchestration", *MEMBERS):
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("src", "tests", ".*", "__pycache__")
            shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored, symlinks=True)
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    version = f"{Version(check(ROOT)).major + 1}.0.0"
    environment = {**os.environ, "PATH": f"{Path(uv.find_uv_bin()).parent}:{os.environ['PATH']}"}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    assert run(".ci/notes", version).returncode == 78
    done = run(".ci/release", version)
    assert done.returncode == 0, done.stderr
    assert check(tmp_path) == version
    assert run("uv", "lock", "--check").returncode == 0
    assert run("uv", "lock", "--check", "--project", "application/orchestration").returncode == 0
    (_, _, unreleased), (_, _, closed), *_ = changelog(tmp_path)
    assert not unreleased.strip()
    assert run(".ci/notes", version).stdout.strip() == closed.strip()


# ---------------------------------------------------------------- wheels


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel of each member, made of its source distribution.

    Those in the folder that ASSAY_TEST_WHEELS names, so that a release tests what it publishes.
    """
    if built := os.environ.get("ASSAY_TEST_WHEELS"):
        return Path(built).resolve()
    folder = tmp_path_factory.mktemp("dist")
    _uv("build", "--all-packages", "-o", str(folder))
    return folder


@pytest.fixture(scope="module")
def installed(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the locked dependencies, and of Assay the wheels alone."""
    folder = tmp_path_factory.mktemp("installed")
    lock = str(folder / "pylock.toml")
    only = ("--locked", "--no-dev", "--package", "assay-cli", "--extra", "local")
    _uv("export", *only, "--no-emit-workspace", "--format", "pylock.toml", "-o", lock)
    environment = folder / "environment"
    _uv("venv", "--python", sys.executable, str(environment))
    install = ("pip", "install", "--python", str(environment))
    _uv(*install, "--requirements", lock)
    # What the wheels ask for, but for what the workspace overrides, is there by now: no index.
    _uv(*install, "--no-index", "--find-links", str(wheels), "assay-cli[local]")
    return environment / "bin"


def _uv(*words: str) -> None:
    done = subprocess.run(
        [uv.find_uv_bin(), *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("member", MEMBERS)
def test_a_wheel_has_every_file_of_its_sources(wheels: Path, member: str) -> None:
    """And none besides; its types, its licence, and its version in what it asks of the others."""
    source = ROOT / member / "src"
    about = project(ROOT / member)
    stem = f"{about['name'].replace('-', '_')}-{about['version']}"
    with ZipFile(wheels / f"{stem}-py3-none-any.whl") as wheel:
        files = {each for each in wheel.namelist() if not each.endswith("/")}
        said = Parser().parsestr(wheel.read(f"{stem}.dist-info/METADATA").decode())
    metadata = {each for each in files if each.startswith(f"{stem}.dist-info/")}
    assert files - metadata == {
        str(each.relative_to(source))
        for each in source.rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    }
    (package,) = {each.split("/")[0] for each in files - metadata}
    assert f"{package}/py.typed" in files
    assert f"{stem}.dist-info/licenses/LICENSE" in files
    assert said["License-Expression"] == "Apache-2.0"
    assert "pip install" in said.get_payload()
    ours = {project(ROOT / each)["name"] for each in MEMBERS}
    requirements = map(Requirement, said.get_all("Requires-Dist", []))
    others = [each for each in requirements if each.name in ours]
    assert all(str(each.specifier) == f"=={about['version']}" for each in others)
    assert len(others) == sum(each.name in ours for each in asked(about))


def test_the_wheels_work_alone(installed: Path, tmp_path: Path) -> None:
    """Outside the checkout: servers, migrations, the shipped model, a run whose books balance."""
    environment = {name: each for name, each in os.environ.items() if not name.startswith("ASSAY_")}

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [installed / words[0], *words[1:]],
            cwd=tmp_path,
            env={**environment, "COLUMNS": "100"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    told = json.loads(run("assay", "version", "--json"))
    assert (told["assay"], told["build"]) == (project(ROOT)["version"], None)
    assert "not recorded" in run("assay", "version")
    assert "not available" not in run("assay", "--help")
    schemas = "from assay_adapters.schema_registry.formats import writer"
    run(
        "python",
        "-c",
        f"{schemas}; writer('transaction', 'avro'); writer('prediction', 'protobuf')",
    )
    (tmp_path / "cards.csv").write_bytes(samples.csv(500, seed=1))
    shutil.copy(ROOT / "contracts/transactions.odcs.yaml", tmp_path)
    run("assay", "up", "postgres", "api")
    try:
        run("assay", "migrate")
        ran = run("assay", "batch", "run", "cards.csv", "--contract", "transactions.odcs.yaml")
        summary = json.loads(ran.splitlines()[-1])
        assert summary["read"] == 500
        assert summary["classified"] > 400
        assert json.loads(run("assay", "reconcile", "--json"))["balanced"]
    finally:
        run("assay", "down", "--wipe")
