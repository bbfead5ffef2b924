import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from assay_model import train
from assay_model.artifact import Artifact, save
from assay_model.predict import Model
from assay_modelling.cli import app

Write = Callable[..., Path]
LABELS = "description,category\nCITY TAXI 1,Transportation\nCORNER BAKERY,Food\n"


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)


@pytest.fixture
def model_file(artifact: Artifact, tmp_path: Path) -> Path:
    """The small model as a file."""
    path = tmp_path / "small.npz"
    save(artifact, path)
    return path


def test_training_writes_a_model_that_evaluates(
    write_data: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a folder of data to figures, through the commands alone; twice gives the same bytes."""
    monkeypatch.setattr(train, "fit", partial(train.fit, bits=10))
    folder, out, again = write_data(), tmp_path / "a.npz", tmp_path / "b.npz"
    trained = invoke("train", "--data", folder, "--out", out)
    assert trained.exit_code == 0, trained.output
    assert trained.stdout == ""
    assert invoke("train", "--data", folder, "--out", again).exit_code == 0
    assert out.read_bytes() == again.read_bytes()

    labels = tmp_path / "labels.csv"
    labels.write_text(LABELS)
    evaluated = invoke("evaluate", labels, "--model", out, "--json")
    assert evaluated.exit_code == 0
    figures = json.loads(evaluated.stdout)
    assert figures["version"] == Model.load(out).version
    assert (figures["rows"], figures["accuracy"], figures["macro_f1"]) == (2, 1.0, 1.0)
    assert {"calibration_error", "coverage_at_95"} <= figures.keys()

    measured = json.loads(invoke("info", "--model", out, "--json").stdout)["tested"]["measured"]
    assert measured["all rows"]["rows"] == 4
    assert measured["merchants never seen"]["rows"] == 1


def test_tables_are_for_people(model_file: Path, tmp_path: Path) -> None:
    """Without --json the same facts stand in a table."""
    labels = tmp_path / "labels.csv"
    labels.write_text(LABELS)
    assert "accuracy" in invoke("evaluate", labels, "--model", model_file).stdout
    assert "assay-linear" in invoke("info").stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("text,category\nCITY TAXI,Food\n", "columns description and category"),
        ("description,category\n", "no rows"),
        ("", "cannot be read"),
        ("description,category\nCITY TAXI,Food\n,Food\n", "1 rows have no description"),
        ("description,category\nA,Food\nB,Yachts\nC,Cars\n", "lacks: Cars, Yachts"),
    ],
)
def test_bad_labels_are_named(model_file: Path, tmp_path: Path, content: str, reason: str) -> None:
    """Missing columns, no rows, gaps, unknown categories: 65, nothing on stdout."""
    labels = tmp_path / "labels.csv"
    labels.write_text(content)
    result = invoke("evaluate", labels, "--model", model_file, "--json")
    assert (result.exit_code, result.stdout) == (65, "")
    assert reason in result.stderr


def test_bad_training_data_are_named(tmp_path: Path) -> None:
    """A folder without the files ends with 65 and leaves no model."""
    out = tmp_path / "model.npz"
    result = invoke("train", "--data", tmp_path / "nowhere", "--out", out)
    assert result.exit_code == 65
    assert "devon_pcard" in result.stderr
    assert not out.exists()


def test_a_damaged_model_is_a_matter_of_configuration(model_file: Path) -> None:
    """`info` on a truncated file ends with 78 and names it."""
    model_file.write_bytes(model_file.read_bytes()[:500])
    result = invoke("info", "--model", model_file)
    assert result.exit_code == 78
    assert "small.npz" in result.stderr


def test_training_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, write_data: Write
) -> None:
    """Where scikit-learn is missing, 78 and the command that installs it."""
    monkeypatch.delitem(sys.modules, "assay_model.train", raising=False)
    monkeypatch.delattr("assay_model.train", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    result = invoke("train", "--data", write_data())
    assert result.exit_code == 78
    assert "assay-model[training]" in result.stderr
