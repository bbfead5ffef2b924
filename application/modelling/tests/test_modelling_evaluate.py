"""`evaluate`: labelled files and the training data, to the terminal, as JSON and as documents."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from assay_model import train
from assay_model.artifact import SHIPPED, Artifact, load, save

Command = Callable[..., subprocess.CompletedProcess[str]]
LABELS = """\
description,category,amount
CITY TAXI 1,Transportation,10.00
CORNER BAKERY,Food,2.50
TESCO STORES 3021,Food,40.00
TESCO STORES 3022,Home,47.50
"""
CONTRACT = Path(__file__).parents[3] / "contracts" / "devon_pcard.odcs.yaml"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """Four labelled rows, one of which the model gets wrong."""
    file = tmp_path / "labels.csv"
    file.write_text(LABELS)
    return file


def test_figures_stand_in_a_table(model: Command, labels: Path) -> None:
    """In 80 columns, with the confusions by category; no description is printed."""
    ended = model("evaluate", labels)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert any(line.split()[:4] == ["labelled", "rows", "4", "75.0"] for line in lines)
    assert "Of the amount 47.5 % lies in a wrong category" in ended.stdout
    assert any(line.split() == ["Home", "Food", "1", "100.0", "%"] for line in lines)
    assert "TESCO" not in ended.stdout + ended.stderr
    assert max(len(line) for line in lines if "  " in line) <= 80


def test_the_same_is_told_as_json(model: Command, labels: Path) -> None:
    """One document, with every table."""
    (section,) = json.loads(model("evaluate", labels, "--json").stdout)["sections"]
    assert section["figures"]["accuracy"] == 0.75
    cells = {
        (each["truth"], each["predicted"]): each["rows"] for each in section["detail"]["confusion"]
    }
    assert cells == {
        ("Food", "Food"): 2,
        ("Home", "Food"): 1,
        ("Transportation", "Transportation"): 1,
    }
    assert sum(each["rows"] for each in section["detail"]["reliability"]) == 4


def test_a_report_is_written_with_its_pictures(
    model: Command, labels: Path, tmp_path: Path
) -> None:
    """Over what an earlier report left there."""
    out = tmp_path / "new" / "report"
    out.mkdir(parents=True)
    (out / "model-report.md").write_text("old")
    assert model("evaluate", labels, "--out", out).returncode == 0
    assert {each.name for each in out.iterdir()} == {"model-report.md", "model-report"}
    pictures = {each.name for each in (out / "model-report").glob("*.png")}
    assert len(pictures) == 4
    assert all(each in (out / "model-report.md").read_text("utf-8") for each in pictures)


def test_what_is_no_csv_is_told_apart(model: Command, labels: Path, tmp_path: Path) -> None:
    """A file that is missing, a folder, what has no such column: each is said, with 65."""
    missing = tmp_path / "missing.csv"
    for words, said in (
        ((missing,), f"{missing} is missing"),
        ((tmp_path,), f"{tmp_path} is a folder, where a CSV file is expected"),
        ((labels, "--label", "kind"), f"{labels} has no column kind"),
        (("--data", missing), f"{missing / 'devon_pcard_2014_2022.csv.gz'} is missing"),
    ):
        ended = model("evaluate", *words)
        assert (ended.returncode, ended.stdout) == (65, "")
        assert said in ended.stderr


def test_codes_are_labels_as_well(model: Command, data: Path, tmp_path: Path) -> None:
    """By the table of the training data; the model does not see the code."""
    file = tmp_path / "codes.csv"
    file.write_text("description,mcc\nCITY TAXI 1,4121\nCORNER BAKERY,5462\nVET,742\n")
    ended = model("evaluate", file, "--label", "mcc", "--label-mcc", "--data", data, "--json")
    report = json.loads(ended.stdout)
    assert report["given"] == ["description"]
    assert report["left_out"] == {"label without a category": 1}
    assert report["sections"][0]["figures"]["accuracy"] == 1.0
    refused = model("evaluate", file, "--label", "mcc", "--label-mcc")
    assert refused.returncode == 78
    assert "--data" in refused.stderr


def test_a_supplier_s_file_is_read_by_its_contract(model: Command, tmp_path: Path) -> None:
    """With the label from one more column."""
    file = tmp_path / "cards.csv"
    file.write_text(
        "Transaction Date,Benificiary (Merchant),Amount,Merchant Category,Kind\n"
        "02/05/2024,TESCO STORES 3021,12.50,Groceries,Food\n"
        '03/05/2024,CITY TAXI,"1,000.00",Taxis,Transportation\n'
        "99/05/2024,CITY TAXI,1.00,Taxis,Transportation\n"
    )
    ended = model("evaluate", file, "--contract", CONTRACT, "--label", "kind", "--json")
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["left_out"] == {"rejected by the contract": 1}
    assert "merchant" in report["given"]
    (cost,) = report["sections"][0]["detail"]["costs"]
    assert (cost["currency"], cost["amount"], cost["wrong"]) == ("GBP", 1012.5, 0)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("text,category\nCITY TAXI,Food\n", "must have description and category"),
        ("description,category\n", "no rows"),
        ("", "cannot be read"),
        ("description,category\nCITY TAXI,Food\n,Food\n", "1 rows have no description"),
        ("description,category\nA,Food\nB,Yachts\nC,Cars\n", "lacks: Cars, Yachts"),
    ],
)
def test_bad_labels_are_named(model: Command, tmp_path: Path, content: str, reason: str) -> None:
    """Missing columns, no rows, gaps, unknown categories: 65, nothing on stdout."""
    labels = tmp_path / "labels.csv"
    labels.write_text(content)
    ended = model("evaluate", labels, "--json")
    assert (ended.returncode, ended.stdout) == (65, "")
    assert reason in ended.stderr


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        ((), 78, "name a FILE"),
        (("labels.csv", "--contract", "nowhere.yaml"), 78, "nowhere.yaml cannot be read"),
        (("nowhere.csv", "--contract", CONTRACT), 65, "nowhere.csv cannot be read"),
        (("--data", "nowhere"), 65, "devon_pcard"),
        (("--data", "nowhere", "--label-mcc"), 78, "belongs to FILE"),
        (("--data", "nowhere", "--contract", CONTRACT), 78, "belongs to FILE"),
    ],
)
def test_what_is_missing_is_named(
    model: Command, words: tuple[str | Path, ...], code: int, reason: str
) -> None:
    """Files that are not there, and a call that does not say what to judge by."""
    ended = model("evaluate", *words)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert reason in " ".join(ended.stderr.split())


def test_the_whole_evaluation_writes_the_card(
    model: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the training data alone; each training is told, and none sees the rows that judge."""
    rows: list[int] = []

    def learn(known: pl.DataFrame) -> Artifact:
        rows.append(known.height)
        return load(SHIPPED)

    def learner(_: Path, progress: Callable[[str], None]) -> Callable[[pl.DataFrame], Artifact]:
        progress("learning")
        return learn

    monkeypatch.setattr(train, "learner", learner)
    ended = model("evaluate", "--data", data, "--out", tmp_path / "report", "--json")
    assert ended.returncode == 0, ended.stderr
    assert len(rows) == 3  # three merchants are in two of the folds; and the random rows
    assert sum(10 - each for each in rows[:-1]) == 10
    names = [each["name"] for each in json.loads(ended.stdout)["sections"]]
    assert names[0] == "later traffic"
    assert names[-1] == "random rows (leaky)"
    assert {each.name for each in (tmp_path / "report").iterdir()} == {
        "model-card.md",
        "model-report.md",
        "model-report",
    }
    assert "fold 1 of 5" in ended.stderr


def test_a_model_that_has_learnt_the_test_is_refused(
    model: Command, data: Path, tmp_path: Path
) -> None:
    """Before anything is trained."""
    artifact = load(Path(train.__file__).with_name("assay-linear.npz"))
    artifact.notes["fitted"]["to"] = "2021-06-30"
    save(artifact, tmp_path / "late.npz")
    ended = model("evaluate", "--data", data, "--model", tmp_path / "late.npz")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "learnt nothing from 2021-01-01 on" in " ".join(ended.stderr.split())


def test_a_report_that_could_not_be_written_is_not_begun(
    model: Command, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read or trained."""
    (tmp_path / "file").write_text("")
    monkeypatch.delattr(train, "learner")
    for out in (tmp_path / "file", tmp_path / "file" / "report"):
        ended = model("evaluate", "--data", data, "--out", out)
        assert (ended.returncode, ended.stdout) == (78, "")
        assert f"{out} cannot be written" in "".join(ended.stderr.splitlines())


def test_what_needs_the_extra_says_so(
    model: Command, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures where matplotlib is missing: 78, and the command that installs it."""
    monkeypatch.delitem(sys.modules, "assay_model.plots", raising=False)
    monkeypatch.delattr("assay_model.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    ended = model("evaluate", labels, "--out", tmp_path / "report")
    assert ended.returncode == 78
    assert "assay-modelling[training]" in ended.stderr
