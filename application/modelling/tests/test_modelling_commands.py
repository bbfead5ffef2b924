"""`train` and `info`: models in files."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import polars as pl
import pytest

from assay.wire import corrections
from assay_model.predict import Model

Command = Callable[..., subprocess.CompletedProcess[str]]
LABELS = "description,category\nCITY TAXI 1234,Transportation\nCORNER BAKERY 1234,Food\n"


def test_training_writes_a_model_that_evaluates(model: Command, data: Path, tmp_path: Path) -> None:
    """From a folder of data to figures, through the commands alone; twice gives the same bytes."""
    out, again = tmp_path / "a.npz", tmp_path / "b.npz"
    trained = model("train", "--data", data, "--out", out)
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout == ""
    assert model("train", "--data", data, "--out", again).returncode == 0
    assert out.read_bytes() == again.read_bytes()

    labels = tmp_path / "labels.csv"
    labels.write_text(LABELS)
    evaluated = model("evaluate", labels, "--model", out, "--json")
    assert evaluated.returncode == 0
    report = json.loads(evaluated.stdout)
    assert report["version"] == Model.load(out).version
    figures = report["sections"][0]["figures"]
    assert (figures["rows"], figures["accuracy"], figures["macro_f1"]) == (2, 1.0, None)

    measured = json.loads(model("info", out, "--json").stdout)["tested"]["measured"]
    assert measured["all rows"]["rows"] == 4
    assert measured["merchants never seen"]["rows"] == 1


def test_facts_are_for_people(model: Command) -> None:
    """Without --json they stand in 80 columns, every digest in one piece; no JSON is left."""
    lines = model("info").stdout.splitlines()
    assert ["model", "assay-linear"] in [line.split() for line in lines]
    assert max(map(len, lines)) <= 80
    assert not set('{}[]"') & set("".join(lines))
    told = json.loads(model("info", "--json").stdout)
    digests = [told["sha256"], *(each["sha256"] for each in told["data"] if "sha256" in each)]
    assert [line.split()[1] for line in lines if line.split()[0] == "sha256"] == digests
    assert told["taxonomy_version"] == "1"


def test_a_description_is_explained(model: Command) -> None:
    """With the words that carried the answer, for people and for programs."""
    shown = model("explain", "CITY TAXI [bold]").stdout
    assert shown.startswith("Transportation, confidence 0.")
    assert "bold" in shown
    told = json.loads(model("explain", "CARD", "--merchant", "City Taxi", "--json").stdout)
    assert told["category"] == "Transportation"
    assert told["explanation"][0]["part"] == "taxi"


def test_other_fields_are_explained(model: Command) -> None:
    """Each that the model takes; a code needs no leading zeros."""
    fields = ("--mcc", "742", "--side", "debit", "--operation-type", "transfer")
    told = json.loads(model("explain", "SOMETHING", *fields, "--json").stdout)
    parts = {each["part"] for each in told["explanation"] if each["kind"] == "field"}
    assert parts == {"mcc=0742", "side=debit", "operation_type=transfer"}
    for wrong in (("--mcc", "10000"), ("--side", "left"), ("--operation-type", "gift")):
        assert model("explain", "SOMETHING", *wrong).returncode == 78
    assert "1,024 characters" in model("explain", "--help").stdout


def test_what_people_said_is_explained_as_the_api_does(
    model: Command, model_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a version of the registry, unless it cannot use it; a file answers by itself."""
    registry = tmp_path / "models"
    monkeypatch.setenv("ASSAY_MODELS__REGISTRY", str(registry))
    version = json.loads(model("add", "--json").stdout)["version"]
    model("promote", version)

    def explained(*words: str | Path) -> tuple[str, str, str]:
        told = json.loads(model("explain", "CITY TAXI 4711", *words, "--json").stdout)
        (best, *_) = told["explanation"]
        return told["category"], best["kind"], told["model_version"].partition("+")[0]

    assert explained() == ("Transportation", "word", version)
    row = ("City Taxi 123", None, "Healthcare", datetime(2026, 1, 1, tzinfo=UTC))
    said = pl.DataFrame([row], corrections.CORRECTIONS, orient="row")
    (registry / "corrections.json").write_bytes(corrections.write(said))
    assert explained() == ("Healthcare", "correction", version)
    assert explained("--model", version) == ("Healthcare", "correction", version)
    assert explained("--model", model_file) == ("Transportation", "word", version)
    shown = " ".join(model("explain", "CITY TAXI 4711").stdout.split())
    assert "a correction decides. By itself the model answers Transportation" in shown
    assert "correction" not in model("explain", "OAK TABLES").stdout
    (registry / "corrections.json").write_bytes(b"{")
    ended = model("explain", "CITY TAXI 4711")
    assert ended.stdout.startswith("Transportation")
    assert "no corrections are in force" in ended.stderr


def test_bad_training_data_are_named(model: Command, tmp_path: Path) -> None:
    """A folder without the files ends with 65 and leaves no model."""
    out = tmp_path / "model.npz"
    ended = model("train", "--data", tmp_path / "nowhere", "--out", out)
    assert ended.returncode == 65
    assert "devon_pcard" in ended.stderr
    assert not out.exists()


def test_a_damaged_model_is_a_matter_of_configuration(model: Command, model_file: Path) -> None:
    """`info` on a truncated file, or on none, ends with 78 and names it."""
    model_file.write_bytes(model_file.read_bytes()[:500])
    for file, reason in ((model_file, "is not a model or is damaged"), ("a/b", "cannot be read")):
        ended = model("info", file)
        assert ended.returncode == 78
        assert f"{file} {reason}" in ended.stderr


def test_training_without_its_extra_says_what_to_install(
    model: Command, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the library that training needs is missing, 78 and the command that installs it."""
    for name in ("train", "knowledge", "regression"):
        monkeypatch.delitem(sys.modules, f"assay_model.{name}", raising=False)
    monkeypatch.delattr("assay_model.train", raising=False)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    ended = model("train", "--data", data)
    assert ended.returncode == 78
    assert "assay-modelling[training]" in ended.stderr


def test_a_training_learns_what_people_said(
    model: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file as from the registry; the model says so, and what cannot be used is refused."""
    registry, plain, taught = tmp_path / "models", tmp_path / "plain.npz", tmp_path / "taught.npz"
    monkeypatch.setenv("ASSAY_MODELS__REGISTRY", str(registry))
    registry.mkdir()
    trained = partial(model, "train", "--data", data, "--out")
    missing = trained(taught, "--corrections", "registry")
    assert (missing.returncode, "assay review publish" in missing.stderr) == (65, True)

    def said(category: str) -> bytes:
        row = ("CITY TAXI 4711", None, category, datetime(2026, 1, 1, tzinfo=UTC))
        return corrections.write(pl.DataFrame([row], corrections.CORRECTIONS, orient="row"))

    published = registry / "corrections.json"
    published.write_bytes(said("Healthcare"))
    assert trained(plain).returncode == 0
    learnt = [trained(taught, "--corrections", each) for each in (published, "registry")]
    assert [each.returncode for each in learnt] == [0, 0]
    assert "learning from 1 correction" in learnt[1].stderr
    answered = [
        json.loads(model("explain", "CITY TAXI 9999", "--model", each, "--json").stdout)["category"]
        for each in (plain, taught)
    ]
    assert answered == ["Transportation", "Healthcare"]
    facts = json.loads(model("info", taught, "--json").stdout)
    assert facts["fitted"]["corrections"] == 1
    told = {each["file"]: each.get("sha256") for each in facts["data"]}
    assert told["corrections.json"] == hashlib.sha256(said("Healthcare")).hexdigest()

    published.write_bytes(said("Rockets"))
    foreign = trained(taught, "--corrections", published)
    assert (foreign.returncode, "lacks: Rockets" in foreign.stderr) == (78, True)
    published.write_bytes(b"{")
    assert trained(taught, "--corrections", published).returncode == 65
