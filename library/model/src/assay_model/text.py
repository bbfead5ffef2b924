"""What the model sees of a transaction: its description and merchant, normalised."""

from typing import Final

import polars as pl

MAX_CHARACTERS: Final = 256
"""Normalised text is cut here: descriptors are far shorter, and it bounds memory."""

NUMBER: Final = "#"
"""Stands for a store, order or card number, of which only the presence carries meaning."""

_ACCENTS: Final = "[\u0300-\u036f]+"
_APOSTROPHES: Final = "['`\u2018\u2019]+"
# A word in which letters and digits alternate (mb17r25s4) or digits only, from the third digit on:
# a reference. Names such as 3m, o2 or 24seven stay.
_REFERENCES: Final = r"\b[\p{L}\d]*\d[\p{L}\d]*\p{L}[\p{L}\d]*\d[\p{L}\d]*\b|\d{3,}"
_NOT_A_WORD: Final = r"[^\p{L}\p{M}\p{N}\x00]+"


def normalise(text: pl.Expr) -> pl.Expr:
    """Lower case without accents, punctuation and reference numbers, words by single spaces.

    Compatibility forms are unfolded (Unicode NFKD), apostrophes vanish, a reference number
    becomes `NUMBER`. The result has at most `MAX_CHARACTERS` characters and may be empty.

    Args:
        text: an expression of type String.
    """
    return (
        text.str.head(4 * MAX_CHARACTERS)
        .str.replace_all("\x00", " ", literal=True)
        .str.normalize("NFKD")
        # One character may unfold to eighteen.
        .str.head(4 * MAX_CHARACTERS)
        .str.to_lowercase()
        .str.replace_all(_ACCENTS, "")
        .str.replace_all(_APOSTROPHES, "")
        .str.replace_all(_REFERENCES, " \x00 ")
        .str.replace_all(_NOT_A_WORD, " ")
        .str.replace_all("\x00", NUMBER, literal=True)
        .str.strip_chars(" ")
        .str.head(MAX_CHARACTERS)
        .str.strip_chars_end(" ")
    )


def seen(transactions: pl.DataFrame) -> pl.Series:
    """The normalised text of each row, which is all that the model knows of it.

    A merchant that is given and not already part of the description follows it.

    Args:
        transactions: has `description` (String, no nulls) and may have `merchant` (String).
    """
    description = normalise(pl.col("description"))
    if "merchant" not in transactions.columns:
        return transactions.select(text=description).to_series()
    merchant = normalise(pl.col("merchant").cast(pl.String).fill_null(""))
    return (
        transactions.select(description=description, merchant=merchant)
        .select(
            text=pl.when(pl.col("description").str.contains(pl.col("merchant"), literal=True))
            .then(pl.col("description"))
            .otherwise(pl.format("{} {}", "description", "merchant"))
            .str.strip_chars_start(" ")
        )
        .to_series()
    )
