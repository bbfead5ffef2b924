"""What is known of words and of names of merchants without any traffic.

The folder `gazetteer` beside this file holds it, written by us: TOML files with a table of `words`,
which say what kind of business a merchant is in whoever's name they stand, and one of `brands`,
which are the names of merchants. Each phrase stands under the merchant category code (ISO 18245)
that such a merchant has at its acquirer; a bank's wording of what is no card purchase (a salary, a
transfer) stands under the name of its category. A phrase stands in one place only.
"""

import tomllib
from importlib import resources
from itertools import chain

import polars as pl

from assay_model.text import normalise

WORDS, BRANDS = "words", "brands"


def gazetteer() -> pl.DataFrame:
    """All phrases, in the order of the files.

    Returns:
        `phrase` (String, as written), `text` (String: the phrase as `assay_model.text` normalises
        it, of one to three words), `code` (String: four digits, or the name of a category) and
        `kind` (String: `WORDS` or `BRANDS`).
    """
    folder = resources.files("assay_model").joinpath("gazetteer")
    files = sorted(folder.iterdir(), key=lambda each: each.name)
    rows = chain.from_iterable(_rows(tomllib.loads(each.read_text("utf-8"))) for each in files)
    frame = pl.DataFrame(rows, schema=["phrase", "code", "kind"], orient="row")
    return frame.select("phrase", normalise(pl.col("phrase")).alias("text"), "code", "kind")


def _rows(tables: dict[str, dict[str, list[str]]]) -> list[tuple[str, str, str]]:
    return [
        (phrase, code, kind)
        for kind, codes in tables.items()
        for code, phrases in codes.items()
        for phrase in phrases
    ]
