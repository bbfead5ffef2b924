"""The gazetteer: what everybody who adds a phrase may rely on."""

import tomllib
from pathlib import Path

import polars as pl
import pytest

import assay_model
from assay.domain.taxonomy import DEFAULT
from assay_model import corpus
from assay_model.gazetteer import BRANDS, WORDS, gazetteer

FILES = sorted((Path(assay_model.__file__).parent / "gazetteer").iterdir())


@pytest.fixture(scope="module")
def phrases() -> pl.DataFrame:
    """All of it."""
    return gazetteer()


def test_it_knows_of_many(phrases: pl.DataFrame) -> None:
    """Tens of thousands, of both kinds, and of every category that cards are used for."""
    assert phrases.height > 100_000
    assert set(phrases["kind"]) == {WORDS, BRANDS}
    assert phrases.filter(text="garden centre")["code"].item() == "5261"
    assert phrases.filter(text="boulangerie")["code"].item() == "5462"


def test_a_phrase_stands_in_one_place(phrases: pl.DataFrame) -> None:
    """Also where two are written differently and normalised alike."""
    assert phrases.filter(pl.col("text").is_duplicated())["phrase"].to_list() == []


def test_a_phrase_has_one_to_three_words(phrases: pl.DataFrame) -> None:
    """With letters in it: a number alone says nothing."""
    fits = pl.col("text").str.contains(r"^[^ ]+( [^ ]+){0,2}$") & pl.col("text").str.contains(
        r"\p{L}\P{N}*\p{L}"
    )
    assert phrases.filter(~fits)["phrase"].to_list() == []


def test_a_code_is_of_merchants_or_a_category(phrases: pl.DataFrame) -> None:
    """Four digits, or a name of the taxonomy."""
    merchants = pl.col("code").str.contains(r"^\d{4}$")
    assert set(phrases.filter(~merchants)["code"]) <= set(DEFAULT.categories)


@pytest.mark.corpus
def test_it_teaches_every_category(corpora: Path) -> None:
    """What no merchant is paid for most, names least."""
    taught = corpus.phrases(corpora)
    assert set(taught["category"]) == set(DEFAULT.categories)
    weights = dict(taught.select("text", "weight").iter_rows())
    assert weights["salary"] > weights["bakery"] > weights["spotify"]


@pytest.mark.corpus
def test_codes_have_a_category(phrases: pl.DataFrame, corpora: Path) -> None:
    """Each code is one of those that the product has a category for."""
    known = {*corpus.codes(corpora), *DEFAULT.categories}
    assert set(phrases["code"]) <= known


@pytest.mark.parametrize("file", FILES, ids=lambda each: each.name)
def test_files_are_kept_in_order(file: Path) -> None:
    """Codes ascend within a table, lines fit a screen, and there is no third table."""
    text = file.read_text("utf-8")
    assert max(map(len, text.splitlines())) <= 105
    tables = tomllib.loads(text)
    assert tables.keys() <= {WORDS, BRANDS}
    for codes in tables.values():
        assert list(codes) == sorted(codes)
