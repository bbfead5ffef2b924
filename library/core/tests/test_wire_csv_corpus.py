"""Delimited text that others collected because it hurts."""

import json
import os
import re
from pathlib import Path
from time import process_time

import polars as pl
import pytest

from assay.domain.dialect import Dialect
from assay.domain.errors import Unreadable
from assay.wire.csv import cells, dialect_of, header_cells
from assay.wire.splitter import Splitter

pytestmark = pytest.mark.corpus
DIALECT = Dialect()


def hostile() -> Path:
    """The folder of hostile files."""
    return Path(os.environ["ASSAY_TEST_DATA"]) / "hostile"


def split(content: bytes, block: int) -> tuple[bytes | None, pl.DataFrame]:
    """Header and records of a file that comes in blocks of this size."""
    splitter = Splitter(DIALECT)
    frames = [splitter.feed(content[at : at + block]) for at in range(0, len(content), block)]
    records = pl.concat([*frames, splitter.close()]).with_row_index("row")
    return splitter.header, records


def test_csv_spectrum_reads_as_its_authors_say() -> None:
    """The cells of all twelve files are those of the JSON beside them."""
    files = sorted((hostile() / "csv-spectrum" / "csvs").glob("*.csv"))
    assert len(files) == 12
    for file in files:
        expected = json.loads((file.parents[1] / "json" / f"{file.stem}.json").read_text())
        header, records = split(file.read_bytes(), 7)
        assert header is not None
        names = header_cells(header, DIALECT)
        good, rejects = cells(records, len(names), DIALECT)
        assert rejects.is_empty()
        found = [dict(zip(names, row[1:], strict=True)) for row in good.rows()]
        if file.stem == "location_coordinates":
            # Its JSON is one object, whose phone number is not the one in the file.
            expected = [expected | {"Contact Phone Number": found[0]["Contact Phone Number"]}]
        assert found == expected, file.name


@pytest.mark.parametrize("collection", ["csvkit", "duckdb"])
def test_hostile_files_come_out_whole_and_in_time(collection: str) -> None:
    """No file raises; each record leaves once, however the file is cut, in linear time."""
    files = [each for each in sorted((hostile() / collection).rglob("*")) if each.is_file()]
    assert len(files) >= 40
    for file in files:
        content = file.read_bytes()
        start = process_time()
        header, records = split(content, 65_536)
        assert process_time() - start < 1 + len(content) / 1e6
        small_header, small = split(content, 97)
        assert header == small_header
        assert records.equals(small)
        if header is None:
            assert not content.strip()
            continue
        try:
            width = len(header_cells(header, DIALECT))
        except Unreadable:
            width = 1
        good, rejects = cells(records, width, dialect_of(header, DIALECT))
        assert sorted([*good["row"], *rejects["row"]]) == list(range(records.height)), file.name
        if not content.startswith((b"\xff\xfe", b"\xfe\xff")):  # transcoded
            whole = b"\n".join([header, *records["raw"]])
            assert re.sub(rb"[\r\n]", b"", content) == re.sub(rb"[\r\n]", b"", whole), file.name
