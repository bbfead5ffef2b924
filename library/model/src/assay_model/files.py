"""CSV files that a person names."""

from pathlib import Path

import polars as pl

from assay.domain.errors import Unreadable


def read_csv(file: Path, *columns: str) -> pl.DataFrame:
    """The cells of a CSV (or .gz, .zst) in UTF-8 with a header, as text; null where one is empty.

    Args:
        file: to read.
        columns: those that it must have; others come as well.

    Raises:
        Unreadable: it is missing, a folder, no CSV, lacks a column, or has one of them twice.
    """
    if not file.exists():
        raise Unreadable(f"{file} is missing")
    if file.is_dir():
        raise Unreadable(f"{file} is a folder, where a CSV file is expected")
    try:
        found = pl.read_csv(file, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise Unreadable(f"{file} cannot be read as CSV with commas in UTF-8") from error
    # The header is not quoted: where there is none, its place is a record's.
    if missing := [each for each in columns if each not in found.columns]:
        raise Unreadable(f"{file} has no column {missing[0]}; it must have {' and '.join(columns)}")
    # As polars names the second of two.
    if twice := [each for each in columns if f"{each}_duplicated_0" in found.columns]:
        raise Unreadable(f"{file} has the column {twice[0]} twice")
    return found
