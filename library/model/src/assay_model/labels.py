"""Rows of any file, labelled or not: plain columns, or a supplier's file by its contract."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import polars as pl

from assay.contract.contract import Contract, header_key
from assay.domain.chunk import RECORDS, Chunk
from assay.domain.errors import Unreadable
from assay.domain.position import Range
from assay.domain.transaction import TRANSACTIONS, split
from assay.pipeline.files import decode
from assay.wire.csv import cells, dialect_of, header_cells
from assay.wire.splitter import SPLIT, Splitter
from assay_model.files import read_csv

LABEL: Final = "category"
OPTIONAL: Final = ("merchant", "amount", "currency", "side", "operation_type", "mcc")
"""The columns of a plain file that count where they are there, beside `description`."""
_GIVEN_AWAY: Final = "the description is no label: the model reads it"

Categories: TypeAlias = Callable[[pl.Series], pl.Series]
"""The category of each label, null where there is none. May raise `Unreadable`."""


@dataclass(frozen=True)
class Labelled:
    """Rows to judge by.

    Attributes:
        rows: `description` and, where there are labels, `category` (String, no nulls), and what
            else a model may take, of its canonical type; never the column that the label was read
            from.
        left_out: how many rows cannot be judged, by the reason.
    """

    rows: pl.DataFrame
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])


def as_they_are(taxonomy: Collection[str]) -> Categories:
    """Labels are categories; one that the taxonomy lacks is an error that names it."""

    def categories(labels: pl.Series) -> pl.Series:
        unknown = labels.filter(labels.is_not_null() & ~labels.is_in(list(taxonomy)))
        if names := unknown.unique().sort().to_list():
            told = ", ".join(name[:40] for name in names[:8])
            more = f" and {len(names) - 8} more" if len(names) > 8 else ""  # noqa: PLR2004
            raise Unreadable(f"there are categories that the model lacks: {told}{more}")
        return labels

    return categories


def by_code(table: Mapping[str, str]) -> Categories:
    """Labels are merchant category codes (ISO 18245), with or without their leading zeros.

    Args:
        table: the category of each code of four digits.
    """

    def categories(labels: pl.Series) -> pl.Series:
        codes = labels.to_frame("code").select(_code(pl.col("code"))).to_series()
        return codes.replace_strict(table, default=None)

    return categories


def plain(file: Path, label: str | None, categories: Categories) -> Labelled:
    """The rows of a CSV (or .gz, .zst) with a column `description` and one for the label.

    Args:
        file: UTF-8, with a header; it may have the columns of `OPTIONAL`, codes without their
            leading zeros.
        label: the name of the label's column; None: there are no labels.
        categories: see `Categories`; not asked without labels.

    Raises:
        Unreadable: a column is missing, or there twice, a description is missing, an amount is no
            number, the label is the description, or there is nothing to judge.
    """
    if label == "description":
        raise Unreadable(f"{file}: {_GIVEN_AWAY}")
    found = read_csv(file, "description", *([] if label is None else [label]))
    rows = found.select("description", _label=_cell(label))
    if empty := rows["description"].null_count():
        raise Unreadable(f"{file}: {empty} rows have no description")
    try:
        some = found.select(
            (_code(pl.col(name)) if name == "mcc" else pl.col(name)).cast(TRANSACTIONS[name])
            for name in OPTIONAL
            if name in found.columns and name != label
        )
    except pl.exceptions.PolarsError:
        raise Unreadable(f"{file}: an amount is no number such as 1234.50") from None
    rows = pl.concat([rows, some], how="horizontal")
    return _labelled(str(file), rows, None if label is None else categories, {})


def by_contract(
    contract: Contract,
    name: str,
    blocks: Iterable[bytes],
    label: str | None,
    categories: Categories,
) -> Labelled:
    """The rows of a supplier's file, as a run would read them, with the label from one more column.

    Args:
        contract: how the file is written.
        name: of the file.
        blocks: its content; held in memory as a whole.
        label: the header of the label's column; its case and blanks do not count. Where the
            contract reads a canonical column from it, the model does not get that. None: there are
            no labels.
        categories: see `Categories`; not asked without labels.

    Raises:
        Unreadable: there is no header, a column is not in it, the description is read from that of
            the label, or there is nothing to judge.
    """
    records, raw_header = _records(contract, name, blocks)
    header = header_cells(raw_header, contract.dialect)
    at = None if label is None else _place(name, header, label)
    covered = Range(name, 0, records.height, records.height, "finished")
    candidates, undecodable = decode(Chunk((covered,), records, {name: raw_header}), contract)
    valid, invalid = split(candidates)
    texts, _ = cells(
        records.with_row_index("row"), len(header), dialect_of(raw_header, contract.dialect)
    )
    text = _cell(None if at is None else str(at)).str.strip_chars()
    labels = texts.select("row", _label=pl.when(text != "").then(text))
    layout = contract.layout(header)
    given_away = {column for column, cell in layout.cells.items() if cell == at}
    if "description" in given_away:
        raise Unreadable(f"{name}: {_GIVEN_AWAY}")
    rows = valid.join(labels, on="row", how="left", maintain_order="left").select(
        "description", "_label", *(column for column in OPTIONAL if column not in given_away)
    )
    rejected = undecodable.height + invalid.height
    left_out = {"rejected by the contract": rejected} if rejected else {}
    return _labelled(name, rows, None if label is None else categories, left_out)


def _place(name: str, header: Sequence[str], label: str) -> int:
    """Where the label stands among the cells."""
    at = [number for number, each in enumerate(header) if header_key(each) == header_key(label)]
    if len(at) != 1:
        raise Unreadable(f"{name} must have one column {label!r}; it has {', '.join(header[:20])}")
    return at[0]


def _code(text: pl.Expr) -> pl.Expr:
    """A merchant category code with the leading zeros that spreadsheets take away."""
    return text.str.strip_chars().str.zfill(4)


def _cell(name: str | None) -> pl.Expr:
    return pl.lit(None, pl.String) if name is None else pl.col(name)


def _records(contract: Contract, name: str, blocks: Iterable[bytes]) -> tuple[pl.DataFrame, bytes]:
    """The records of a file, shaped as `RECORDS`, and its header."""
    splitter = Splitter(contract.dialect)
    found = [splitter.feed(block) for block in blocks]
    records = pl.concat([pl.DataFrame(schema=SPLIT), *found, splitter.close()])
    if splitter.header is None:
        raise Unreadable(f"{name} is empty: there is no header")
    # Which of equal records is which does not matter here.
    same = {"partition": name, "key": None, "occurrence": 0}
    records = records.select(
        *(pl.lit(value, RECORDS[column]).alias(column) for column, value in same.items()),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("position"),
        *SPLIT,
    )
    return records.select(*RECORDS), splitter.header


def _labelled(
    name: str, rows: pl.DataFrame, categories: Categories | None, left_out: Mapping[str, int]
) -> Labelled:
    if rows.is_empty():
        raise Unreadable(f"{name} has no rows")
    if categories is None:
        return Labelled(rows.drop("_label"), left_out)
    rows = rows.with_columns(categories(rows["_label"]).alias(LABEL))
    unlabelled = rows["_label"].null_count()
    without = rows[LABEL].null_count() - unlabelled
    judged = rows.drop_nulls(LABEL).drop("_label")
    if judged.is_empty():
        raise Unreadable(f"{name} has no row with a label that has a category")
    reasons = {**left_out, "without a label": unlabelled, "label without a category": without}
    return Labelled(judged, {reason: count for reason, count in reasons.items() if count})
