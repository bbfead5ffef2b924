"""The head of a file, read by a contract."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from assay.contract.contract import Column, Contract
from assay.domain.chunk import RECORDS, Chunk
from assay.domain.errors import Unreadable
from assay.domain.position import Range
from assay.domain.rules import COLUMNS
from assay.domain.transaction import split
from assay.pipeline.files import decode
from assay.wire.csv import header_cells
from assay.wire.splitter import SPLIT, Splitter


@dataclass(frozen=True)
class Sample:
    """What a contract makes of the first records of a file.

    Attributes:
        sources: canonical column → where it comes from, in words.
        records: that were read, shaped as `RECORDS`.
        valid: shaped as `TRANSACTIONS`.
        rejects: shaped as `REJECTS`, in the order of the records.
    """

    sources: dict[str, str]
    records: pl.DataFrame
    valid: pl.DataFrame
    rejects: pl.DataFrame


def read(contract: Contract, name: str, blocks: Iterable[bytes], limit: int) -> Sample:
    """Reads the first records of a file as a run would.

    Args:
        contract: how they are written.
        name: of the file.
        blocks: its content; no more is taken than is needed.
        limit: records that are read, at most.

    Raises:
        Unreadable: there is no header, or a column of the contract is not in it.
    """
    splitter = Splitter(contract.dialect)
    records = pl.DataFrame(schema=SPLIT)
    for found in _split(splitter, blocks):
        records = pl.concat([records, found])
        if records.height >= limit:
            break
    if splitter.header is None:
        raise Unreadable(f"{name} is empty: there is no header")
    sources = _sources(contract, header_cells(splitter.header, contract.dialect))
    records = (
        records[:limit]
        .select(
            # In one file equal records are told apart by their numbers, which do not matter here.
            *_columns({"partition": name, "key": None, "occurrence": 0}),
            pl.int_range(pl.len(), dtype=pl.Int64).alias("position"),
            *SPLIT,
        )
        .select(*RECORDS)
    )
    covered = Range(name, 0, records.height, records.height)
    candidates, undecodable = decode(Chunk((covered,), records, {name: splitter.header}), contract)
    valid, invalid = split(candidates)
    return Sample(sources, records, valid, pl.concat([undecodable, invalid]).sort("row"))


def _columns(constants: Mapping[str, object]) -> Iterator[pl.Expr]:
    return (pl.lit(value, RECORDS[name]).alias(name) for name, value in constants.items())


def _sources(contract: Contract, header: Sequence[str]) -> dict[str, str]:
    layout = contract.layout(header)
    said = {column.name: column for column in contract.columns}
    return {name: _source(said.get(name), layout.cells, header) for name in COLUMNS}


def _source(column: Column | None, cells: Mapping[str, int], header: Sequence[str]) -> str:
    if column is None:
        return "nothing: not in the contract"
    at = [cells[name] for name in column.cells if name in cells]
    if at:
        return " or ".join(f"column {cell + 1}, {header[cell]}" for cell in at)
    if column.by_sign is not None:
        return "the sign of the amount"
    if column.default is not None:
        return f"always {column.default}"
    return "nothing: not in the file" if column.headers else "the content of the record"


def _split(splitter: Splitter, blocks: Iterable[bytes]) -> Iterator[pl.DataFrame]:
    for block in blocks:
        yield splitter.feed(block)
    yield splitter.close()
