"""A small model trained on texts written for these tests, and the one that the package carries."""

import gzip
import os
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import polars as pl
import pytest

from assay.domain.taxonomy import Taxonomy
from assay_model.artifact import Artifact
from assay_model.predict import Model
from assay_model.train import build, examples, fit

SMALL = Taxonomy("small", "1", ("Nothing", "Food", "Transportation", "Home"))
NO_LESSONS = pl.DataFrame(
    schema={"description": pl.String, "category": pl.String, "weight": pl.Float64}
)


def labelled() -> pl.DataFrame:
    """Invented descriptions of three of the four categories of `SMALL`."""
    texts = {
        "Food": ["GREEN GROCER {}", "CORNER BAKERY", "VILLAGE BAKERY {}", "FRESH FOOD MARKET"],
        "Transportation": ["CITY TAXI {}", "NIGHT TAXI", "NORTH RAIL TICKETS", "RAIL {}"],
        "Home": ["OAK FURNITURE", "PINE FURNITURE {}", "TIMBER YARD {}", "TIMBER AND TILES"],
    }
    return pl.DataFrame(
        [
            {"description": text.format(1000 + number), "category": category}
            for category, those in texts.items()
            for text in those
            for number in range(4)
        ]
    )


def small_artifact() -> Artifact:
    """A model of 4,096 n-grams over `labelled`."""
    layer = fit(examples(labelled(), NO_LESSONS), SMALL, bits=12)
    return build(layer, SMALL, temperature=0.5, review_below=0.6)


@pytest.fixture(scope="session")
def small() -> Taxonomy:
    """Four categories, one without examples."""
    return SMALL


@pytest.fixture(scope="session")
def labels() -> pl.DataFrame:
    """Invented `description` and `category`."""
    return labelled()


@pytest.fixture(scope="session")
def lessons() -> pl.DataFrame:
    """No lessons."""
    return NO_LESSONS


@pytest.fixture
def write_data(tmp_path: Path) -> Callable[..., Path]:
    """Writes a tiny folder of training data: traffic before and after the test's first day."""
    wordings = {"Food": "Bakeries", "Transportation": "Taxis", "Home": "Furniture"}

    def write(codes: str | None = None) -> Path:
        folder = tmp_path / "data"
        folder.mkdir()
        days = ["2020-01-01"] * 5 + ["2020-08-01"] * 5 + ["2021-03-01"] * 4
        kinds = [("CITY TAXI", "Taxis"), ("CORNER BAKERY", "Bakeries"), ("OAK TABLES", "Furniture")]
        traffic = [
            f"{day},{text} {number},12.50,{wording}"
            for number, (day, (text, wording)) in enumerate(zip(days, cycle(kinds)), start=1)
        ]
        traffic[-1] = "2021-03-01,UNHEARD OF TAXI,12.50,Taxis"
        with gzip.open(folder / "devon_pcard_2014_2022.csv.gz", "wt") as file:
            file.write("\n".join(["date,description,amount,mcc_desc", *traffic]))
        lines = "".join(f"{wording},{category}\n" for category, wording in wordings.items())
        (folder / "mcc_category.csv").write_text(codes or f"wording,category\n{lines}")
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
