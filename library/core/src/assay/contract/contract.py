"""A compiled contract: a supplier's cells -> the columns of the canonical transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Final, NamedTuple

import polars as pl

from assay.contract.amounts import Writing, canonical, is_other_than_zero, signed
from assay.contract.timestamps import Format, moment
from assay.domain.dialect import Dialect
from assay.domain.errors import Unreadable
from assay.domain.identity import derived_ids
from assay.domain.reject import faults
from assay.domain.rules import COLUMNS

_WRITTEN: Final = "is not a number as the contract says that numbers are written"
NO_EDITS: Final[Mapping[str, str]] = {}
STATUSES: Final = ("proposed", "draft", "active", "deprecated", "retired")
"""The statuses that ODCS knows, in the order of a contract's life."""

_MOST: Final = 8  # headers in a message
_LONGEST: Final = 40  # characters of one
_TOLD: Final = 3  # columns that are explained
_COMPARED: Final = 100  # headers among which a near one is looked for


@dataclass(frozen=True)
class BySign:
    """What the sign of the amount says of another column."""

    positive: str
    zero: str
    negative: str


@dataclass(frozen=True)
class ByColumn:
    """An amount that stands in one of two columns, which says its direction.

    Attributes:
        debit: the names that the header of debits may have.
        credit: the names that the header of credits may have.
    """

    debit: tuple[str, ...]
    credit: tuple[str, ...]


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
        by_sign: what the amount's sign says of it, if it is derived from that.
        by_column: the two columns that an amount stands in, if it does.
    """

    name: str
    headers: tuple[str, ...] = ()
    may_be_absent: bool = False
    required: bool = False
    default: str | None = None
    values: Mapping[str, str] = field(default_factory=dict[str, str])
    by_sign: BySign | None = None
    by_column: ByColumn | None = None

    @property
    def cells(self) -> dict[str, tuple[str, ...]]:
        """The headers of the cells that it is read from, by the cells' names in a `Layout`."""
        if self.by_column is not None:
            return {"debit": self.by_column.debit, "credit": self.by_column.credit}
        return {self.name: self.headers} if self.headers else {}


@dataclass(frozen=True)
class Layout:
    """Where the columns stand in a file.

    Attributes:
        width: how many cells a record has.
        cells: the number of the cell that each canonical column is read from; of an amount in two
            columns those of `debit` and `credit`.
    """

    width: int
    cells: Mapping[str, int]


class _Broken(NamedTuple):
    """One way in which a record cannot be read."""

    code: str
    message: str
    holds: pl.Expr


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
        keys = [header_key(name) for name in header]
        found: dict[str, int] = {}
        doubled: dict[str, list[str]] = {}
        missing: dict[str, tuple[str, ...]] = {}
        for column in self.columns:
            for name, headers in column.cells.items():
                wanted = set(map(header_key, headers))
                at = [number for number, key in enumerate(keys) if key in wanted]
                if len(at) == 1:
                    found[name] = at[0]
                elif at:
                    doubled[name] = [header[number] for number in at]
                elif not column.may_be_absent:
                    missing[name] = headers
        if doubled or missing:
            rest = [name for number, name in enumerate(header) if number not in found.values()]
            raise Unreadable(_misfit(missing, doubled, rest, header))
        return Layout(len(header), found)

    def convert(
        self, cells: pl.DataFrame, layout: Layout, edits: Mapping[str, str] = NO_EDITS
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Brings cells into the canonical writing; blanks around a cell do not count.

        Args:
            cells: `row`, `occurrence` where ids are derived, and the cells of each record as
                string columns named by their number.
            layout: of these cells.
            edits: what stands in some canonical columns of every record, in the canonical writing,
                whatever its cells say.

        Returns:
            Candidates for `assay.domain.transaction.split`, as `row` and the canonical columns,
            of which `timestamp` has its type already unless it is edited, and the others are text;
            and rejects of
            stage `decode`, where a supplier's writing could not be read. Together they hold each
            row once. What is missing is null, and no reject here unless the contract requires
            more than the canonical transaction does.
        """
        columns = {column.name: column for column in self.columns}
        texts = cells.select(
            "row",
            *(
                _text(columns.get(name, Column(name)), layout.cells.get(name)).alias(name)
                for name in (*COLUMNS, "debit", "credit")
            ),
        )
        if self.derives_id:
            raw = cells.select("occurrence", *map(str, range(layout.width)))
            texts = texts.with_columns(derived_ids(self.id, raw))
        texts = texts.with_columns(**self._edited(edits))
        number = self._numbers() if "amount" not in edits else self._no_numbers(edits["amount"])
        read = texts.with_columns(*number, self._time.alias("time"))
        broken = self._broken
        read = read.with_columns(self._first_broken.alias("broken"))
        good = read.filter(pl.col("broken").is_null()).select(
            "row", *(self._candidate(name, edits).alias(name) for name in COLUMNS)
        )
        codes = dict(enumerate(each.code for each in broken))
        messages = dict(enumerate(each.message for each in broken))
        bad = read.filter(pl.col("broken").is_not_null()).with_columns(
            pl.col("broken").replace_strict(codes, return_dtype=pl.String).alias("code"),
            pl.col("broken").replace_strict(messages, return_dtype=pl.String).alias("message"),
        )
        bad = bad.with_columns(pl.col("code").str.replace("^[a-z]+_", "").alias("field"))
        return good, faults(bad, stage="decode")

    @cached_property
    def _time(self) -> pl.Expr:
        # Composed once: of a file with few records it would take longer than to compute it.
        return moment(pl.col("timestamp"), self.formats, self.timezone)

    def _numbers(self) -> list[pl.Expr]:
        """`number`, the canonical amount; of two columns also what it is made of."""
        if not self._in_two_columns:
            return [canonical(pl.col("amount"), self.amount).alias("number")]
        debit, credit = (canonical(pl.col(each), self.amount) for each in ("debit", "credit"))
        return [
            debit.alias("debit_number"),
            credit.alias("credit_number"),
            signed(debit, credit).alias("number"),
        ]

    def _no_numbers(self, amount: str) -> list[pl.Expr]:
        """The same of an amount that is given."""
        none = (pl.lit(None, pl.String).alias(f"{each}_number") for each in ("debit", "credit"))
        return [*none, pl.lit(amount or None, pl.String).alias("number")]

    @cached_property
    def _first_broken(self) -> pl.Expr:
        """The number of the first of `_broken` that holds."""
        return pl.coalesce(
            pl.when(each.holds).then(pl.lit(number, pl.UInt8))
            for number, each in enumerate(self._broken)
        )

    @cached_property
    def _broken(self) -> list[_Broken]:
        """What may be wrong with a record, in the order of the rules."""
        broken = [
            *(self._two_columns_broken() if self._in_two_columns else ()),
            _Broken("invalid_amount", f"amount {_WRITTEN}", _lost("amount", "number")),
            _Broken(
                "invalid_timestamp",
                "timestamp fits no format of the contract, or is no moment of its zone",
                _lost("timestamp", "time"),
            ),
        ]
        for column in self.columns:
            if column.name in {"merchant", "mcc"} and column.required:
                message = f"{column.name} is missing, and the contract requires it"
                holds = pl.col(column.name).is_null()
                broken.append(_Broken(f"missing_{column.name}", message, holds))
        return broken

    def _two_columns_broken(self) -> list[_Broken]:
        debit, credit = pl.col("debit_number"), pl.col("credit_number")
        is_credit = is_other_than_zero(credit)
        ways = {
            f"the debit {_WRITTEN}": _lost("debit", "debit_number"),
            f"the credit {_WRITTEN}": _lost("credit", "credit_number"),
            "both a debit and a credit are given": is_other_than_zero(debit) & is_credit,
            "the credit is negative": is_credit & credit.str.starts_with("-"),
            "it stands among the credits, and side says debit": is_credit
            & (pl.col("side") == "debit"),
        }
        return [
            _Broken("invalid_amount", f"amount cannot be told: {message}", holds)
            for message, holds in ways.items()
        ]

    @property
    def _in_two_columns(self) -> bool:
        return any(column.by_column is not None for column in self.columns)

    def _edited(self, edits: Mapping[str, str]) -> dict[str, pl.Expr]:
        """The texts of edited columns; what is written as the contract says is no longer read."""
        written = {"timestamp": ("timestamp",), "amount": ("amount", "debit", "credit")}
        unread = {name for column in edits for name in written.get(column, ())}
        edited = {name: pl.lit(text) for name, text in edits.items() if name not in written}
        return edited | {name: pl.lit(None, pl.String) for name in unread}

    def _candidate(self, name: str, edits: Mapping[str, str]) -> pl.Expr:
        if name in edits and name != "amount":  # what derives from its sign does so from an edit
            return pl.lit(edits[name])
        signs = {column.name: column.by_sign for column in self.columns if column.by_sign}
        number = pl.col("number")
        if name in signs:
            return _by_sign(number, signs[name])
        if name == "amount":  # what the side says of the direction, the number need not
            return number.str.strip_prefix("-") if "side" in signs else number
        return pl.col("time" if name == "timestamp" else name)


def _misfit(
    missing: Mapping[str, Sequence[str]],
    doubled: Mapping[str, Sequence[str]],
    rest: Sequence[str],
    header: Sequence[str],
) -> str:
    """What a file's headers lack, and what to do, in a few lines."""
    by_key = {header_key(name): name for name in reversed(rest[:_COMPARED])}
    problems: list[str] = []
    for name, headers in missing.items():
        close = (get_close_matches(header_key(each), by_key, n=1) for each in headers)
        near = next((by_key[keys[0]] for keys in close if keys), None)
        hint = "" if near is None else f", but {_listed([near])} is near"
        problems.append(f"{name} is missing: no header is {_listed(headers, ' or ')}{hint}")
    problems += [f"{name} could be any of {_listed(headers)}" for name, headers in doubled.items()]
    told = problems[:_TOLD]
    if len(problems) > _TOLD:
        told.append(f"and so on for {', '.join([*missing, *doubled][_TOLD:])}")
    advice = [
        *(["add the right header to its synonyms in the contract"] if missing else []),
        *(["rename the others, or take them out of the synonyms"] if doubled else []),
    ]
    return f"{'; '.join(told)}. The file has {_listed(header)}. To do: {'; '.join(advice)}"


def _listed(names: Sequence[str], separator: str = ", ") -> str:
    """Names as a message tells them; what is no header may be long, and no text at all."""
    listed = [
        repr(name if len(name) <= _LONGEST else name[:_LONGEST] + "…") for name in names[:_MOST]
    ]
    more = f" and {len(names) - _MOST:,} more" if len(names) > _MOST else ""
    return separator.join(listed) + more


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


def header_key(name: str) -> str:
    """A header without what makes no difference: its case and the number of blanks."""
    return " ".join(name.split()).casefold()
