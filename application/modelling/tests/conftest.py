"""The commands run in this process, and what they need."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path

import polars as pl
import pytest

from assay_model import corpus, knowledge
from assay_model.artifact import SHIPPED
from assay_model.gazetteer import gazetteer
from assay_modelling.cli import main

CODES = ("5462", "4121", "5712")
Ended = subprocess.CompletedProcess[str]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty folder without `.env`, and no settings."""
    for name in os.environ:
        if name.startswith("ASSAY_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def model(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Runs `assay model` with these words to its end, in this process."""

    def run(*words: str | Path) -> Ended:
        named = [str(each) for each in words]
        monkeypatch.setattr(sys, "argv", ["assay-model", *named])
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # Typer sets its own
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(named, ended.value.code, out, err)

    return run


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A copy of the model that the package carries."""
    path = tmp_path / "model.npz"
    path.write_bytes(SHIPPED.read_bytes())
    return path


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny folder of training data: traffic before and after the test's first day.

    Of the gazetteer only what stands under these codes and categories is read, by few n-grams.
    """
    monkeypatch.setattr(corpus, "gazetteer", lambda: _of_few_codes(gazetteer()))
    monkeypatch.setattr(knowledge, "taught", partial(knowledge.taught, bits=10))
    wordings = {"Food": "Bakeries", "Transportation": "Taxis", "Home": "Furniture"}
    folder = tmp_path / "data"
    folder.mkdir()
    days = ["2020-01-01"] * 5 + ["2020-08-01"] * 5 + ["2021-03-01"] * 4
    kinds = [("CITY TAXI", "Taxis"), ("CORNER BAKERY", "Bakeries"), ("OAK TABLES", "Furniture")]
    traffic = [
        f"{day},{text} {number},12.50,{wording}"
        for number, (day, (text, wording)) in enumerate(zip(days, cycle(kinds)), start=1001)
    ]
    traffic[-1] = "2021-03-01,UNHEARD OF TAXI,12.50,Taxis"
    with gzip.open(folder / "devon_pcard_2014_2022.csv.gz", "wt") as file:
        file.write("\n".join(["date,description,amount,mcc_desc", *traffic]))
    codes = zip(CODES, wordings.items(), strict=True)
    lines = "".join(f"{code},{wording},{category}\n" for code, (category, wording) in codes)
    (folder / "mcc_category.csv").write_text(f"mcc,wording,category\n{lines}")
    (folder / "nsi_brands.csv").write_text("brand,osm_tag\nPEBBLE BREAD,shop/bakery\n")
    return folder


def _of_few_codes(phrases: pl.DataFrame) -> pl.DataFrame:
    other = pl.col("code").str.contains("^[0-9]{4}$") & ~pl.col("code").is_in(CODES)
    return phrases.filter(~other).group_by("code", maintain_order=True).head(20)
