"""The files of Devon County Council, exactly as they were published."""

import os
import tarfile
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.domain.transaction import split
from assay.wire.csv import cells, dialect_of, header_cells
from assay.wire.splitter import Splitter

pytestmark = pytest.mark.corpus
CONTRACTS = Path(__file__).parents[3] / "contracts"


def transactions(contract: Contract, content: bytes) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What a file holds, and its rejects of all stages."""
    splitter = Splitter(contract.dialect)
    blocks = [splitter.feed(content[at : at + 65_536]) for at in range(0, len(content), 65_536)]
    records = pl.concat([*blocks, splitter.close()]).with_row_index("row")
    assert splitter.header is not None
    dialect = dialect_of(splitter.header, contract.dialect)
    layout = contract.layout(header_cells(splitter.header, dialect))
    cut, undecoded = cells(records, layout.width, dialect)
    occurrence = pl.int_range(pl.len(), dtype=pl.UInt32).over("raw").alias("occurrence")
    counted = cut.join(records.select("row", occurrence), on="row", maintain_order="left")
    candidates, unread = contract.convert(counted, layout)
    good, broken = split(candidates)
    return good, pl.concat([undecoded, unread, broken])


def test_every_record_of_devon_is_a_transaction() -> None:
    """93,123 records, none rejected; derived ids repeat for exactly the 1,019 duplicates."""
    contract = parse(
        (CONTRACTS / "devon_pcard.odcs.yaml").read_text("utf-8"), "devon_pcard.odcs.yaml"
    )
    ids: Counter[str] = Counter()
    archive = Path(os.environ["ASSAY_TEST_DATA"]) / "devon_raw.tar.gz"
    with tarfile.open(archive) as files:
        members = [each for each in files if each.name.endswith(".csv")]
        for member in members:
            file = files.extractfile(member)
            assert file is not None
            good, rejects = transactions(contract, file.read())
            assert rejects.is_empty(), (member.name, rejects["code"].value_counts())
            ids.update(good["transaction_id"])
    assert len(members) == 29
    assert ids.total() == 93_123
    assert ids.total() - len(ids) == 1_019
