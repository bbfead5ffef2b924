"""A small model trained on texts written for these tests, and the one that the package carries."""

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from assay.domain.taxonomy import Taxonomy
from assay_model import corpus
from assay_model import knowledge as knowledge_module
from assay_model.artifact import Artifact
from assay_model.gazetteer import gazetteer
from assay_model.knowledge import Knowledge, taught
from assay_model.predict import Model
from assay_model.train import Learner, build, examples, fit, mix

SMALL = Taxonomy("small", "1", ("Nothing", "Food", "Transportation", "Home"))
LESSONS = pl.DataFrame(
    {
        "description": ["SUPERMARKET", "PARKING", "PLUMBER", "NOTHING AT ALL"],
        "category": ["Food", "Transportation", "Home", "Nothing"],
        "weight": [1.0, 1.0, 1.0, 1.0],
    }
)
PHRASES = pl.DataFrame(
    [
        ("taxi", "Transportation", "words", 1.0),
        ("car hire", "Transportation", "words", 1.0),
        ("car", "Home", "words", 1.0),
        ("bakery", "Food", "words", 1.0),
        ("nil return", "Nothing", "words", 1.0),
        ("pebble bread", "Food", "brands", 0.5),
        ("quarrel rail", "Transportation", "brands", 0.5),
        ("umbra sofas", "Home", "brands", 0.5),
    ],
    schema=["text", "category", "kind", "weight"],
    orient="row",
)


def labelled() -> pl.DataFrame:
    """Invented descriptions of three of the four categories of `SMALL`."""
    texts = {
        "Food": ["{} GROCER", "{} BAKERY {}", "{} FOOD MARKET"],
        "Transportation": ["{} TAXI {}", "{} RAIL TICKETS", "{} COACHES"],
        "Home": ["{} FURNITURE", "{} TIMBER YARD {}", "{} TILES"],
    }
    names = "CITY CORNER VILLAGE NORTH HARBOUR OAK PINE OLD".split()
    return pl.DataFrame(
        [
            {"description": text.format(name, 1000 + number), "category": category}
            for category, those in texts.items()
            for text in those
            for name in names
            for number in range(4)
        ]
    )


def dated(rows: pl.DataFrame) -> pl.DataFrame:
    """A third of the rows from the half-year that training calibrates on, the others before."""
    third = pl.col("description").str.len_bytes() % 3 == 0
    return rows.with_columns(date=pl.when(third).then(date(2020, 8, 1)).otherwise(date(2020, 1, 1)))


def small_knowledge() -> Knowledge:
    """What 4,096 n-grams know of `LESSONS` and `PHRASES`."""
    return taught(LESSONS, PHRASES, SMALL, bits=12)


def small_artifact() -> Artifact:
    """A model over `labelled`, which takes a debit for `Nothing` rather not."""
    known, rows = small_knowledge(), examples(labelled())
    weights = fit(rows, mix(rows, known, SMALL), known, SMALL)
    weights = replace(weights, temperatures=np.full(4, 0.5))
    fields = {"side": {"debit": {"Nothing": -3.0}}, "mcc": {"4121": {"Transportation": 6.0}}}
    return build(weights, fields, SMALL, review_below=0.6)


@pytest.fixture(scope="session")
def small() -> Taxonomy:
    """Four categories, one without examples."""
    return SMALL


@pytest.fixture(scope="session")
def labels() -> pl.DataFrame:
    """Invented `description` and `category`."""
    return labelled()


@pytest.fixture(scope="session")
def knowledge() -> Knowledge:
    """What is known of these categories without traffic."""
    return small_knowledge()


@pytest.fixture(scope="session")
def ignorance() -> Knowledge:
    """What is known without lessons and phrases."""
    return taught(LESSONS.clear(), PHRASES.clear(), SMALL, bits=12)


@pytest.fixture(scope="session")
def learn() -> Callable[[pl.DataFrame], Artifact]:
    """Trains on rows such as `labelled` gives, from the lessons on."""
    return lambda rows: Learner(small_knowledge(), {}, SMALL, lambda _: None)(dated(rows))


@pytest.fixture
def write_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a tiny folder of training data: traffic before and after the test's first day.

    Of the gazetteer only the wording of banks is read, by few n-grams.
    """
    banks = gazetteer().filter(~pl.col("code").str.contains("^[0-9]{4}$"))
    monkeypatch.setattr(corpus, "gazetteer", lambda: banks)
    monkeypatch.setattr(knowledge_module, "taught", partial(taught, bits=10))
    wordings = {"Food": "Bakeries", "Transportation": "Taxis", "Home": "Furniture"}

    def write(codes: str | None = None) -> Path:
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
        lines = "".join(f"9999,{wording},{category}\n" for category, wording in wordings.items())
        (folder / "mcc_category.csv").write_text(codes or f"mcc,wording,category\n{lines}")
        (folder / "nsi_brands.csv").write_text(
            "brand,osm_tag\nPEBBLE BREAD,shop/bakery\n"
            "ANYTHING ELSE,shop/anything\nSOME BANK,amenity/bank\n"
        )
        return folder

    return write


@pytest.fixture(scope="session")
def artifact() -> Artifact:
    """The small model's artifact."""
    return small_artifact()


@pytest.fixture(scope="session")
def shipped() -> Model:
    """The model that the package carries."""
    return Model.load()


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of public data; only tests marked `corpus` may ask for it."""
    return Path(os.environ["ASSAY_TEST_DATA"])
