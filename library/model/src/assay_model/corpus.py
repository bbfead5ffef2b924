"""The labelled texts that the model learns from, read from a folder of public data."""

import hashlib
import tomllib
from importlib import resources
from pathlib import Path
from typing import Final

import polars as pl

from assay.domain.errors import Unreadable
from assay.domain.transaction import TRANSACTIONS
from assay_model.files import read_csv
from assay_model.gazetteer import WORDS, gazetteer

TRAFFIC: Final = "devon_pcard_2014_2022.csv.gz"
CODES: Final = "mcc_category.csv"
BRANDS: Final = "nsi_brands.csv"

_BRAND: Final = 0.3
_WORDING: Final = 1.0
_NO_MERCHANT: Final = 3.0
_WORD: Final = 1.0
_NAME: Final = 0.5


def traffic(folder: Path) -> pl.DataFrame:
    """Real card transactions: `date`, `description`, `amount`, `category`.

    In the order of the file; an amount is positive for a purchase and negative for a refund. The
    category follows from the wording of the merchant category code.

    Raises:
        Unreadable: a file or column is missing, or a wording has no category.
    """
    rows = _read(folder / TRAFFIC, "date", "description", "amount", "mcc_desc")
    codes = _read(folder / CODES, "wording", "category").unique("wording", maintain_order=True)
    joined = rows.join(
        codes, left_on="mcc_desc", right_on="wording", how="left", maintain_order="left"
    )
    if joined["category"].has_nulls():
        unknown = joined.filter(pl.col("category").is_null())["mcc_desc"].unique().sort()
        raise Unreadable(f"{folder / CODES} has no category for {', '.join(unknown)}")
    try:
        return joined.select(
            pl.col("date").str.to_date("%Y-%m-%d"),
            "description",
            pl.col("amount").cast(TRANSACTIONS["amount"]),
            "category",
        )
    except pl.exceptions.PolarsError as error:
        raise Unreadable(f"{folder / TRAFFIC} has a date or an amount that is none") from error


def codes(folder: Path) -> dict[str, str]:
    """The category of each merchant category code.

    Raises:
        Unreadable: the file or a column is missing.
    """
    rows = _read(folder / CODES, "mcc", "category").unique("mcc", keep="first", maintain_order=True)
    return dict(rows.select("mcc", "category").iter_rows())


def lessons(folder: Path) -> pl.DataFrame:
    """Texts that teach what the traffic cannot: `description`, `category`, `weight`.

    The brands of the name-suggestion-index and the wordings of the codes. The weight is that of
    one example, where a word of the gazetteer weighs 1.

    Raises:
        Unreadable: a file or column is missing.
    """
    wordings = _read(folder / CODES, "wording", "category")
    brands = _read(folder / BRANDS, "brand", "osm_tag")
    categories = {tag: category for category, tags in _lists("brands.toml").items() for tag in tags}
    tag = pl.col("osm_tag")
    known = brands.with_columns(
        category=pl.when(tag.is_in(list(categories)))
        .then(tag.replace(categories))
        .when(tag.str.starts_with("shop/"))
        .then(pl.lit("Shopping"))
    ).drop_nulls("category")
    return pl.concat(
        frame.rename({name: "description"})
        .select("description", "category", weight=pl.lit(weight))
        .unique(maintain_order=True)
        for frame, name, weight in (
            (known, "brand", _BRAND),
            (wordings, "wording", _WORDING),
        )
    )


def phrases(folder: Path) -> pl.DataFrame:
    """The gazetteer with the categories of its codes.

    Of equal texts the first counts. What has no two letters together is left out.

    Returns:
        `text` (normalised), `category`, `kind` and `weight` (as that of `lessons`). The wording of
        what no merchant is paid for, which no card teaches, weighs more, and a name less.

    Raises:
        Unreadable: the file of the codes is missing, or lacks a code of the gazetteer.
    """
    known = codes(folder)
    found = (
        gazetteer()
        .filter(pl.col("text").str.contains(r"\p{L}{2}"))
        .unique("text", keep="first", maintain_order=True)
        .select(
            "text",
            pl.col("code").replace(known).alias("category"),
            "kind",
            weight=pl.when(pl.col("kind") != WORDS)
            .then(_NAME)
            .when(pl.col("code").replace(known).is_in([*known.values()]))
            .then(_WORD)
            .otherwise(_NO_MERCHANT),
        )
    )
    strange = found.filter(pl.col("category").str.contains("^[0-9]{4}$"))["category"].unique()
    if strange.len():
        raise Unreadable(
            f"{folder / CODES} has no category for {strange.len()} codes of the gazetteer, "
            f"{strange.min()} among them"
        )
    return found


def provenance(folder: Path) -> list[dict[str, str]]:
    """Where the texts come from: file, SHA-256, licence and attribution of each."""
    return [
        {
            "file": TRAFFIC,
            "sha256": _sha256(folder / TRAFFIC),
            "licence": "Open Government Licence v3.0",
            "attribution": "Contains public sector information licensed under the Open Government "
            "Licence v3.0. Procurement card transactions, Devon County Council.",
        },
        {
            "file": BRANDS,
            "sha256": _sha256(folder / BRANDS),
            "licence": "BSD-3-Clause",
            "attribution": "Brand names: name-suggestion-index contributors.",
        },
        {
            "file": CODES,
            "sha256": _sha256(folder / CODES),
            "licence": "Apache-2.0",
            "attribution": "Merchant category codes to categories: Assay.",
        },
        {
            "file": "gazetteer, brands.toml, fields.toml",
            "licence": "Apache-2.0",
            "attribution": "Assay.",
        },
    ]


def _read(path: Path, *columns: str) -> pl.DataFrame:
    return read_csv(path, *columns).select(columns).drop_nulls()


def _lists(name: str) -> dict[str, list[str]]:
    return tomllib.loads(resources.files("assay_model").joinpath(name).read_text("utf-8"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
