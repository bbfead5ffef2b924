"""A compiled contract: a supplier's cells -> the columns of the canonical transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from assay.contract.amounts import Writing, canonical
from assay.contract.timestamps import Format, moment
from assay.domain.dialect import Dialect
from assay.domain.errors import Unreadable
from assay.domain.identity import derived_ids
from assay.domain.reject import faults
from assay.domain.rules import COLUMNS

_MESSAGES: Final = {
    "invalid_amount": "amount is not a number as the contract says that numbers are written",
    "invalid_timestamp": "timestamp fits no format of the contract, or is no moment of its zone",
    "missing_merchant": "merchant is missing, and the contract requires it",
    "missing_mcc": "mcc is missing, and the contract requires it",
}
STATUSES: Final = ("proposed", "draft", "active", "deprecated", "retired")
"""The statuses that ODCS knows, in the order of a contract's life."""

_MOST: Final = 30
_LONGEST: Final = 40


@dataclass(frozen=True)
class BySign:
    """What the sign of the amount says of another column."""

    positive: str
    zero: str
    negative: str


@dataclass(frozen=True)
class Column:
    """Where a canonical column comes from.

    Attributes:
        name: of the canonical column.
        headers: the names that its header may have; empty where it is in no file.
        may_be_absent: whether a file may lack it.
        required: whether its cell must hold something, by the contract.
        default: what an empty or absent cell means.
        values: the supplier's words for canonical values.
        by_sign: what it is derived from, if it is.
    """

    name: str
    headers: tuple[str, ...] = ()
    may_be_absent: bool = False
    required: bool = False
    default: str | None = None
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    by_sign: BySign | None = None


@dataclass(frozen=True)
class Layout:
    """Where the columns stand in a file.

    Attributes:
        width: how many cells a record has.
        cells: the number of the cell that each canonical column is read from.
    """

    width: int
    cells: Mapping[str, int]


@dataclass(frozen=True)
class Contract:
    """How one supplier's files are read.

    Attributes:
        id: of the document; part of every derived id.
        version: of the document.
        status: of the document: one of `STATUSES`.
        dialect: of the files.
        derives_id: whether ids are derived from content, so that a source must count occurrences.
        timezone: of the times that do not say their offset.
        columns: of the canonical ones those that it says anything of.
        amount: how amounts are written.
        formats: of timestamps, in the order in which they are tried.
    """

    id: str
    version: str
    status: str
    dialect: Dialect
    derives_id: bool
    timezone: str
    columns: tuple[Column, ...]
    amount: Writing
    formats: tuple[Format, ...]

    @property
    def in_force(self) -> bool:
        """Whether files may be taken in by it: it is decided, and not withdrawn."""
        return self.status in {"active", "deprecated"}

    def layout(self, header: Sequence[str]) -> Layout:
        """Finds the columns by their headers, whatever their case and the blanks in them.

        Raises:
            Unreadable: a column is not there, or there twice; names all of them.
        """
        keys = [_key(name) for name in header]
        found: dict[str, int] = {}
        problems: list[str] = []
        for column in self.columns:
            wanted = {_key(name) for name in column.headers}
            at = [number for number, key in enumerate(keys) if key in wanted]
            if len(at) == 1:
                found[column.name] = at[0]
            elif len(at) > 1:
                names = _listed([header[number] for number in at])
                problems.append(
                    f"{column.name} could be any of {names}: rename the others in the file, or "
                    "take them out of the contract's synonyms"
                )
            elif column.headers and not column.may_be_absent:
                names = " or ".join(map(repr, column.headers))
                problems.append(
                    f"{column.name} is missing: no header is {names}"
                    "; if another one is meant, add it to the synonyms in the contract"
                )
        if problems:
            raise Unreadable(
                f"contract {self.id}: {'; '.join(problems)}. The file's headers are "
                f"{_listed(header)}"
            )
        return Layout(len(header), found)

    def convert(self, cells: pl.DataFrame, layout: Layout) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Brings cells into the canonical writing; blanks around a cell do not count.

        Args:
            cells: `row`, `occurrence` where ids are derived, and the cells of each record as
                string columns named by their number.
            layout: of these cells.

        Returns:
            Candidates for `assay.domain.transaction.split`, as `row` and the canonical columns,
            of which `timestamp` has its type already and the others are text; and rejects of
            stage `decode`, where a supplier's writing could not be read. Together they hold each
            row once. What is missing is null, and no reject here unless the contract requires
            more than the canonical transaction does.
        """
        columns = {column.name: column for column in self.columns}
        texts = cells.select(
            "row",
            *(
                _text(columns.get(name, Column(name)), layout.cells.get(name)).alias(name)
                for name in COLUMNS
            ),
        )
        if self.derives_id:
            texts = texts.with_columns(_ids(self.id, cells, layout.width))
        number = canonical(pl.col("amount"), self.amount)
        time = moment(pl.col("timestamp"), self.formats, self.timezone)
        read = texts.with_columns(number.alias("number"), time.alias("time"))
        read = read.with_columns(self._code().alias("code"))
        good = read.filter(pl.col("code").is_null()).select(
            "row", *(self._candidate(name).alias(name) for name in COLUMNS)
        )
        bad = read.filter(pl.col("code").is_not_null()).with_columns(
            pl.col("code").str.replace("^[a-z]+_", "").alias("field"),
            pl.col("code").replace_strict(_MESSAGES).alias("message"),
        )
        return good, faults(bad, stage="decode")

    def _code(self) -> pl.Expr:
        """The first fault of a record, in the order of the rules; null where there is none."""
        broken = {
            "invalid_amount": _lost("amount", "number"),
            "invalid_timestamp": _lost("timestamp", "time"),
        }
        for column in self.columns:
            if f"missing_{column.name}" in _MESSAGES and column.required:
                broken[f"missing_{column.name}"] = pl.col(column.name).is_null()
        return pl.coalesce(pl.when(holds).then(pl.lit(code)) for code, holds in broken.items())

    def _candidate(self, name: str) -> pl.Expr:
        signs = {column.name: column.by_sign for column in self.columns if column.by_sign}
        number = pl.col("number")
        if name in signs:
            return _by_sign(number, signs[name])
        if name == "amount":  # what the side says of the direction, the number need not
            return number.str.strip_prefix("-") if "side" in signs else number
        return pl.col("time" if name == "timestamp" else name)


def _listed(names: Sequence[str]) -> str:
    """Names as a message tells them; what is no header may be long, and no text at all."""
    listed = [repr(name if len(name) <= _LONGEST else name[:_LONGEST] + "…") for name in names]
    more = [f"and {len(names) - _MOST:,} more"] if len(names) > _MOST else []
    return ", ".join(listed[:_MOST] + more)


def _lost(before: str, after: str) -> pl.Expr:
    return pl.col(before).is_not_null() & pl.col(after).is_null()


def _by_sign(number: pl.Expr, meaning: BySign) -> pl.Expr:
    return (
        pl.when(number.is_null())
        .then(None)
        .when(~number.str.contains("[1-9]"))
        .then(pl.lit(meaning.zero))
        .when(number.str.starts_with("-"))
        .then(pl.lit(meaning.negative))
        .otherwise(pl.lit(meaning.positive))
    )


def _text(column: Column, cell: int | None) -> pl.Expr:
    """A column's text in the canonical writing; null where there is none."""
    if cell is None:
        return pl.lit(column.default, pl.String)
    stripped = pl.col(str(cell)).str.strip_chars()
    text = pl.when(stripped != "").then(stripped)
    if column.values:
        text = text.replace(dict(column.values))
    return text if column.default is None else text.fill_null(column.default)


def _ids(contract_id: str, cells: pl.DataFrame, width: int) -> pl.Series:
    """The derived id of each record; null for those that have no occurrence: nobody counted."""
    raw = cells.select("occurrence", *map(str, range(width)))
    counted = raw["occurrence"].is_not_null()
    ids = derived_ids(contract_id, raw.filter(counted))
    if counted.all():
        return ids
    none = pl.Series("transaction_id", [None] * raw.height, dtype=pl.String)
    return none.scatter(counted.arg_true(), ids)


def _key(name: str) -> str:
    return " ".join(name.split()).casefold()
