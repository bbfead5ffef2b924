"""Drafts a contract from the head of a file, for a person to finish.

What the file alone cannot say is marked `# Decide:`.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import polars as pl

from assay.contract.amounts import Writing, canonical
from assay.contract.timestamps import RFC_3339, moment, parse_format
from assay.contract.words import COLUMN_OF, VALUE_OF, plain
from assay.domain.errors import Unreadable
from assay.domain.rules import COLUMNS

_DECIDE: Final = "# Decide: "
_MARKS: Final = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_DELIMITERS: Final = (",", ";", "\t", "|")
_DAYS: Final = (
    "yyyy-MM-dd",
    "d/M/yyyy",
    "M/d/yyyy",
    "d.M.yyyy",
    "d-M-yyyy",
    "yyyy/MM/dd",
    "yyyyMMdd",
    "d/M/yy",
    "d.M.yy",
    "d-MMM-yyyy",
    "d MMM yyyy",
)
_TIMES: Final = ("", " HH:mm:ss", "'T'HH:mm:ss", " HH:mm", " HH:mm:ss.SSS", "'T'HH:mm:ss.SSS")
_PATTERNS: Final = (*(day + time for day in _DAYS for time in _TIMES), RFC_3339)
_CURRENCIES: Final = {"€": "EUR", "£": "GBP", "$": "USD"}
_WRITINGS: Final = tuple(
    Writing(decimal, thousands, sign)
    for sign in (None, *_CURRENCIES)
    for decimal, thousands in (
        (".", None),
        (",", None),
        (".", ","),
        (",", "."),
        (",", " "),
        (".", " "),
        (".", "'"),
    )
)


@dataclass(frozen=True)
class _Head:
    """What the head of a file shows."""

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]

    def column(self, number: int | None) -> tuple[str, ...]:
        """The cells of a column that hold something."""
        if number is None:
            return ()
        return tuple(cell.strip() for cell in self.columns[number] if cell.strip())


class Mark(NamedTuple):
    """A place of a draft that a person has yet to decide.

    Attributes:
        line: of its text, from 1.
        text: what is to be decided.
    """

    line: int
    text: str


def undecided(text: str) -> list[Mark]:
    """The marks that are left in a contract's text, in the order of their lines."""
    return [
        Mark(number, mark.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        for _, found, mark in [line.partition(_DECIDE.rstrip())]
        if found
    ]


def draft(sample: bytes, name: str) -> str:
    """Writes a contract that fits the head of a file, as far as it can be told.

    Args:
        sample: the first bytes of the file; a few hundred records are enough.
        name: of the file or the supplier; becomes the contract's id.

    Returns:
        YAML. It parses as it is where every required column was found or can be derived.

    Raises:
        Unreadable: there is no header to be seen.
    """
    head = _read(sample)
    found = _columns(head.header)
    slug = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-") or "supplier"
    lines = [
        "# A draft: read it through, and look at what is marked `Decide:`.",
        "apiVersion: v3.2.0",
        "kind: DataContract",
        f"id: {_quoted(slug)}  # part of every derived id: do not change it later",
        f"name: {_quoted(name)}",
        "version: 1.0.0",
        "status: draft",
        "servers:",
        "  - server: inbox",
        "    type: s3",
        f"    location: {_quoted(f's3://transactions/{slug}/*.csv')}  {_DECIDE}where they lie.",
        "    format: csv",
        f"    delimiter: {_quoted(head.delimiter)}",
        f"    encoding: {head.encoding}",
        "schema:",
        "  - name: transactions",
        "    logicalType: object",
        "    properties:",
    ]
    for column in COLUMNS:
        if column == "amount":
            lines += _amount(head, found)
        elif column == "timestamp":
            lines += _timestamp(head, found)
        elif column in found:
            lines += _mapped(column, head, found)
        else:
            lines += _unmapped(column, head.column(found.get("amount")))
    for number, header in enumerate(head.header):
        if number not in found.values():
            lines += _property(
                header or f"column {number}",
                header,
                options=("logicalType: string",),
                custom={"ignored": True},
            )
    return "\n".join(lines) + "\n"


def _read(sample: bytes) -> _Head:
    encoding, text = _decoded(sample)
    lines = list(io.StringIO(text, newline=""))
    if len(lines) > 1 and not lines[-1].endswith(("\r", "\n")):
        lines.pop()  # the sample may end inside it
    read = {each: _rows(lines, each) for each in _DELIMITERS}

    def fit(delimiter: str) -> tuple[int, int]:
        rows = read[delimiter]
        width = len(rows[0]) if rows else 0
        return sum(len(row) == width for row in rows) if width > 1 else 0, width

    delimiter = max(_DELIMITERS, key=fit)
    rows = read[delimiter]
    if not rows:
        raise Unreadable("the file is empty; draft the contract from one with a header")
    header = tuple(name.strip() for name in rows[0])
    even = [row for row in rows[1:] if len(row) == len(header)]
    columns = tuple(zip(*even, strict=True)) or ((),) * len(header)
    return _Head(encoding, delimiter, header, columns)


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:  # then it is another one
        return []


def _decoded(sample: bytes) -> tuple[str, str]:
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding, sample[len(mark) :].decode(encoding, "replace")
    if sample[1::2].count(0) > len(sample) // 4:
        return "utf-16-le", sample.decode("utf-16-le", "replace")
    if sample[::2].count(0) > len(sample) // 4:
        return "utf-16-be", sample.decode("utf-16-be", "replace")
    try:
        return "utf-8", codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return "cp1252", sample.decode("cp1252", "replace")


def _columns(header: Sequence[str]) -> dict[str, int]:
    """The canonical columns that headers most likely mean, each header once."""
    found: dict[str, int] = {}
    for number, name in enumerate(header):
        inside = re.search(r"\((.*)\)", name)
        for part in (name, name.partition("(")[0], inside[1] if inside else ""):
            column = COLUMN_OF.get(plain(part))
            if column is not None and column not in found:
                found[column] = number
                break
    if "description" not in found and "merchant" in found:
        found["description"] = found["merchant"]
    return found


def _property(
    name: str,
    header: str | None,
    *,
    options: Sequence[str] = (),
    custom: Mapping[str, object] | None = None,
    note: str = "",
) -> list[str]:
    """The lines of one property; a note stands above it."""
    lines = [f"      {_DECIDE}{note}"] if note else []
    lines.append(f"      - name: {_quoted(name)}")
    if header is not None:
        lines.append(f"        physicalName: {_quoted(header)}")
    lines += [f"        {line}" for line in options]
    if custom:
        lines.append("        customProperties:")
    for key, value in (custom or {}).items():
        lines += [f"          - property: {key}", f"            value: {_quoted(value)}"]
    return lines


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)  # which is YAML as well


def _amount(head: _Head, found: Mapping[str, int]) -> list[str]:
    if "amount" not in found:
        return _absent("amount")
    texts = pl.Series(head.column(found["amount"]), dtype=pl.String)
    read = pl.DataFrame({"text": texts}).select(
        canonical(pl.col("text"), each).is_not_null().sum().alias(str(number))
        for number, each in enumerate(_WRITINGS)
    )
    best = _WRITINGS[max(range(len(_WRITINGS)), key=lambda number: read[str(number)][0])]
    custom: dict[str, object] = {}
    if best.decimal != ".":
        custom["decimalSeparator"] = best.decimal
    if best.thousands:
        custom["thousandsSeparator"] = best.thousands
    if best.currency_sign:
        custom["currencySign"] = best.currency_sign
    options = ("logicalType: number", "required: true")
    return _property("amount", head.header[found["amount"]], options=options, custom=custom)


def _timestamp(head: _Head, found: Mapping[str, int]) -> list[str]:
    if "timestamp" not in found:
        return _absent("timestamp")
    left = pl.DataFrame({"text": head.column(found["timestamp"])}, schema={"text": pl.String})
    patterns: list[str] = []
    note = "the zone of times that do not say their offset."
    while left.height:
        reads = left.select(
            moment(pl.col("text"), [parse_format(each)], "UTC").is_not_null().alias(each)
            for each in _PATTERNS
        )
        counts = dict(zip(_PATTERNS, reads.sum().row(0), strict=True))
        best = max(_PATTERNS, key=lambda each: counts[each])
        if not counts[best]:
            break
        swapped = best.replace("d/M", "M/d")
        if swapped != best and counts[swapped] == counts[best]:
            note += f" These dates could be {swapped} as well: is the day or the month first?"
        patterns.append(best)
        left = left.filter(~reads[best])
    options = (
        "logicalType: timestamp",
        "logicalTypeOptions:",
        f"  format: {_quoted(patterns[0] if patterns else 'yyyy-MM-dd')}",
        "  defaultTimezone: UTC",
        "required: true",
    )
    custom = {"furtherFormats": patterns[1:]} if patterns[1:] else {}
    header = head.header[found["timestamp"]]
    return _property("timestamp", header, options=options, custom=custom, note=note)


def _mapped(column: str, head: _Head, found: Mapping[str, int]) -> list[str]:
    """A column that a header was found for."""
    options = ("logicalType: string",)
    if column in {"description", "merchant"}:
        options += ("classification: confidential", "tags: [pii]")
    known = VALUE_OF.get(column, {})
    words = {word: known.get(plain(word)) for word in head.column(found[column])}
    values = {word: value for word, value in words.items() if value and word != value}
    note = ""
    if known and None in words.values():
        meanings = ", ".join(dict.fromkeys(known.values()))
        note = f"some words of this column mean nothing known; map them to {meanings}."
    custom = {"valueMap": values} if values else {}
    return _property(column, head.header[found[column]], options=options, custom=custom, note=note)


def _unmapped(column: str, amounts: Sequence[str]) -> list[str]:
    """A column that no header was found for."""
    custom: dict[str, object] = {}
    if column == "transaction_id":
        custom["derivation"] = {"from": "content"}
        note = "no header looks like an id, so it is derived from all cells of a record."
    elif column == "currency":
        signs = "".join(amounts)
        custom["default"] = next(
            (code for sign, code in _CURRENCIES.items() if sign in signs), "EUR"
        )
        note = "the currency of all amounts."
    elif column == "operation_type":
        custom["default"] = "payment"
        note = "what all transactions are."
    elif column == "side" and any(re.search(r"[-(\u2212]", amount) for amount in amounts):
        custom["derivation"] = {
            "from": "amountSign",
            "positive": "credit",
            "zero": "debit",
            "negative": "debit",
        }
        note = "whether a negative amount is a debit."
    elif column == "side":
        custom["default"] = "debit"
        note = "the side of all transactions."
    else:
        return _absent(column) if column == "description" else []
    return _property(column, None, options=("logicalType: string",), custom=custom, note=note)


def _absent(column: str) -> list[str]:
    return [
        f"      {_DECIDE}no header was known for {column}; name the one that it has.",
        f"      # - name: {column}",
        "      #   physicalName:",
    ]
