"""`list`, `add`, `promote`, `rollback`, `shadow` and `info`: versions in a registry."""

import dataclasses
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay.domain.taxonomy import DEFAULT, Taxonomy
from assay_local.pytest_plugin import S3Settings
from assay_model.artifact import SHIPPED, load, save

Command = Callable[..., subprocess.CompletedProcess[str]]
SHIPPED_VERSION = load(SHIPPED).version


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings name a folder that is not there yet."""
    folder = tmp_path / "a registry"
    monkeypatch.setenv("ASSAY_MODELS__REGISTRY", folder.as_uri())
    return folder


@pytest.fixture
def trained(tmp_path: Path) -> Callable[..., Path]:
    """Makes the file of another version."""

    def make(version: str, categories: tuple[str, ...] = DEFAULT.categories) -> Path:
        taxonomy = Taxonomy("t", "1", categories)
        path = tmp_path / f"{version}.npz"
        other = dataclasses.replace(load(SHIPPED), version=version, taxonomy=taxonomy, fields={})
        save(other, path)
        return path

    return make


def listed(model: Command) -> dict[str, Any]:
    """The states of all versions, and what holds."""
    document = json.loads(model("list", "--json").stdout)
    return {each["version"]: each["state"] for each in document["versions"]}


def test_without_a_registry_the_shipped_model_stands_alone(model: Command) -> None:
    """It is served; what needs a registry says which setting names one."""
    assert listed(model) == {SHIPPED_VERSION: "served"}
    shown = model("list").stdout
    assert "ASSAY_MODELS__REGISTRY" in shown
    assert SHIPPED_VERSION in shown
    measured = load(SHIPPED).notes["tested"]["measured"]["all rows"]
    assert f"{measured['macro_f1']:.3f}" in shown
    for words in (["add"], ["promote", "1"], ["rollback"], ["shadow", "1"], ["info", "1-aa"]):
        ended = model(*words)
        assert (ended.returncode, ended.stdout) == (78, "")
        assert "set ASSAY_MODELS__REGISTRY" in ended.stderr


@pytest.mark.usefixtures("registry")
def test_the_life_of_versions(model: Command, trained: Callable[..., Path]) -> None:
    """Added, promoted, shadowed, rolled back; each step says what it did and what undoes it."""
    assert model("list").returncode == 78  # a folder that is not there may be one not mounted
    added = model("add")
    assert added.returncode == 0
    assert "it is not served yet" in added.stdout
    assert "None is served yet" in model("list").stdout
    assert "None is served yet" in model("history").stdout
    assert listed(model) == {SHIPPED_VERSION: None}
    again = model("add", SHIPPED)
    assert again.returncode == 0
    assert "nothing was changed" in again.stdout
    model("add", trained("2-abc"))
    assert json.loads(model("add", trained("2-abd"), "--json").stdout)["new"] is True

    first = model("promote", SHIPPED_VERSION)
    assert first.returncode == 0
    assert f"{SHIPPED_VERSION} is served from now on (promotion 1)." in first.stdout
    assert "rollback" not in first.stdout
    second = model("promote", "2-abc", "--reason", "better on [all] rows", "--by", "ada")
    assert f"2-abc is served from now on, {SHIPPED_VERSION} no longer (promotion 2)." in (
        " ".join(second.stdout.split())
    )
    assert f"`assay model rollback` goes back to {SHIPPED_VERSION}" in second.stdout
    assert "Nothing was changed. 2-abc is served" in model("promote", "2-abc").stdout
    assert "2-abd is asked the same as 2-abc" in model("shadow", "2-abd").stdout
    assert listed(model) == {SHIPPED_VERSION: None, "2-abc": "served", "2-abd": "shadows"}
    shown = model("list").stdout
    assert all(len(line) <= 80 for line in shown.partition("\n\n")[0].splitlines())
    assert "2-abc is served (promotion 3, shadow" in shown

    back = model("rollback")
    assert f"{SHIPPED_VERSION} is served from now on, 2-abc no longer" in back.stdout
    assert "2-abd is no challenger any more" in back.stdout
    ended = model("rollback")
    assert ended.returncode == 78
    assert f"nothing was served before {SHIPPED_VERSION}" in ended.stderr
    model("shadow", "2-abc")
    assert "2-abc is no challenger any more" in model("shadow", "--end").stdout
    entries = json.loads(model("history", "--json").stdout)
    assert [(each["action"], each["version"], each["challenger"]) for each in entries] == [
        ("promote", SHIPPED_VERSION, None),
        ("promote", "2-abc", None),
        ("shadow", "2-abc", "2-abd"),
        ("rollback", SHIPPED_VERSION, None),
        ("shadow", SHIPPED_VERSION, "2-abc"),
        ("shadow", SHIPPED_VERSION, None),
    ]
    assert (entries[1]["by"], entries[1]["reason"]) == ("ada", "better on [all] rows")
    shown = model("history", "--limit", "5").stdout
    assert "[all]" in shown
    assert len(shown.splitlines()) >= 6
    assert all(len(line) <= 80 for line in shown.splitlines())
    document = json.loads(model("promote", "2-abd", "--json").stdout)
    assert document["changed"] is True
    assert document["promotion"]["version"] == "2-abd"
    assert json.loads(model("info", "--json").stdout)["version"] == "2-abd"
    assert json.loads(model("info", "2-abc", "--json").stdout)["version"] == "2-abc"


@pytest.mark.usefixtures("registry")
def test_what_makes_no_sense_is_refused(model: Command, trained: Callable[..., Path]) -> None:
    """78, and what there is: unknown and ambiguous versions, no version or too many words."""
    for version in ("2-abc", "2-abd"):
        model("add", trained(version))
    for words, said in (
        (["promote", "3"], "no version 3; there are: 2-abc, 2-abd"),
        (["promote", "2-ab"], "several versions that begin with 2-ab"),
        (["shadow"], "name a version, or --end"),
        (["shadow", "2-abc", "--end"], "name a version, or --end"),
        (["shadow", "2-abc"], "nothing is served yet"),
        (["rollback"], "nothing was served yet"),
        (["info", "9"], "no version 9"),
    ):
        ended = model(*words)
        assert (ended.returncode, ended.stdout) == (78, "")
        assert said in " ".join(ended.stderr.replace("│", " ").split())


def test_what_is_damaged_is_not_promoted(
    model: Command, registry: Path, trained: Callable[..., Path]
) -> None:
    """It stands in the list as such, where its manifest is; the others do as well."""
    model("add")
    model("add", trained("2-abc"))
    model("promote", SHIPPED_VERSION)
    file = registry / "versions" / "2-abc" / "model.npz"
    file.write_bytes(file.read_bytes()[:-1])
    ended = model("promote", "2-abc")
    assert ended.returncode == 78
    assert "2-abc/model.npz is damaged" in ended.stderr
    (registry / "versions" / "2-abc" / "manifest.json").write_text("{")
    shown = model("list")
    assert shown.returncode == 0
    assert "2-abc/manifest.json is damaged" in shown.stdout
    assert f"{SHIPPED_VERSION} is served (promotion 1" in shown.stdout
    (registry / "promotions" / "00000002.json").write_text("{")
    assert model("list").returncode == 78


def test_what_is_served_of_another_format_is_said(
    model: Command,
    registry: Path,
    trained: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`list` shows it as unusable; whoever needs it says how to go on, and that helps."""
    file = trained("1-old")
    old = load(file)
    with monkeypatch.context() as earlier:
        earlier.setattr("assay_model.artifact.FORMAT", 1)
        save(old, file)
        model("add", file)
        assert f"follow {registry.resolve().as_uri()}/" in model("promote", "1-old").stdout
    shown = model("list")
    assert shown.returncode == 0
    assert "1-old    unusable" in shown.stdout
    (row,) = json.loads(model("list", "--json").stdout)["versions"]
    assert row["state"] == "served"
    for said in (shown.stdout, row["problem"], model("info").stderr):
        assert "is a model of format 1; this release reads" in said
        assert "`assay model add` puts that of this release" in said
    assert model("compare", "served", SHIPPED).returncode == 78
    model("add")
    promoted = model("promote", SHIPPED_VERSION)
    assert promoted.returncode == 0
    assert "rollback" not in promoted.stdout  # it could not go back
    assert model("rollback").returncode == 78
    assert json.loads(model("info", "--json").stdout)["version"] == SHIPPED_VERSION


def test_strange_notes_are_shown_as_notes(model: Command, tmp_path: Path) -> None:
    """However deep they are, and never in the place of what is known of the file."""
    deep: dict[str, Any] = {}
    for _ in range(60):
        deep = {"deeper": deep}
    file = tmp_path / "strange.npz"
    save(dataclasses.replace(load(SHIPPED), notes={"remark": deep, "version": "0"}), file)
    shown = model("info", file)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("deeper") == 60
    assert json.loads(model("info", file, "--json").stdout)["version"] == SHIPPED_VERSION


@pytest.mark.usefixtures("registry")
def test_another_artifact_of_a_version_is_refused(
    model: Command, trained: Callable[..., Path]
) -> None:
    """65: nothing is overwritten."""
    model("add", trained("2-abc"))
    ended = model("add", trained("2-abc", DEFAULT.categories[::-1]))
    assert ended.returncode == 65
    assert "another artifact of this version" in ended.stderr


@pytest.mark.usefixtures("registry")
def test_a_narrower_taxonomy_must_be_accepted(model: Command, trained: Callable[..., Path]) -> None:
    """The message names what would be lost, and the option."""
    model("add")
    model("promote", SHIPPED_VERSION)
    model("add", trained("2-abc", (*DEFAULT.categories[:-1], "Yachts")))
    ended = model("promote", "2-abc")
    assert ended.returncode == 78
    for said in ("reject: Yachts", "what is served: Transfers", "--accept-taxonomy"):
        assert said in ended.stderr
    assert model("promote", "2-abc", "--accept-taxonomy").returncode == 0


def test_a_registry_in_s3(
    model: Command, s3_settings: S3Settings, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one in a folder; away, it is temporary."""
    for name, value in vars(s3_settings).items():
        monkeypatch.setenv(f"ASSAY_S3__{name.upper()}", value)
    monkeypatch.setenv("ASSAY_MODELS__REGISTRY", f"s3://{bucket}/models")
    assert "No version in" in model("list").stdout
    assert model("add").returncode == 0
    assert model("promote", SHIPPED_VERSION).returncode == 0
    assert listed(model) == {SHIPPED_VERSION: "served"}
    monkeypatch.setenv("ASSAY_S3__ENDPOINT_URL", "http://127.0.0.1:1")
    for words in (["list"], ["promote", "1"], ["rollback"], ["info"]):
        ended = model(*words)
        assert (ended.returncode, ended.stdout) == (75, "")
        assert "S3 is away" in ended.stderr
