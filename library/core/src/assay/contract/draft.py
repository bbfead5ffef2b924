"""Drafts a contract from the head of a file, for a person to finish.

What the file alone cannot say is marked `# Decide:`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import polars as pl

from assay.contract.amounts import Writing, canonical
from assay.contract.columns import is_signed, like_id, meant
from assay.contract.head import Head, read_head
from assay.contract.timestamps import RFC_3339, moment, parse_format
from assay.contract.words import VALUE_OF, plain
from assay.domain.rules import COLUMNS, CURRENCIES

_DECIDE: Final = "# Decide: "
_DAYS: Final = (
    "yyyy-MM-dd",
    "d/M/yyyy",
    "M/d/yyyy",
    "d.M.yyyy",
    "d-M-yyyy",
    "yyyy/MM/dd",
    "yyyyMMdd",
    "d/M/yy",
    "M/d/yy",
    "d.M.yy",
    "d-MMM-yyyy",
    "d MMM yyyy",
    "d-MMM-yy",
    "d MMM yy",
)
_TIMES: Final = ("", " HH:mm:ss", "'T'HH:mm:ss", " HH:mm", " HH:mm:ss.SSS", "'T'HH:mm:ss.SSS")
_PATTERNS: Final = (*(day + time for day in _DAYS for time in _TIMES), RFC_3339)
_SIGNS: Final = {"€": "EUR", "£": "GBP", "$": "USD"}
_WRITINGS: Final = tuple(
    Writing(decimal, thousands, sign)
    for sign in (None, *_SIGNS)
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


_DATED: Final = re.compile(
    r"(?:(?:-|^)(?:\d+|q[1-4]|to|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)(?=-|$)"
    r"|(?<=\D)\d{4,})+$"
)


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
        name: of the file or the supplier; the contract's id is made of it.

    Returns:
        YAML. It parses as it is where every required column was found or can be derived; what is
        commented out for one that was not is complete but for the header's name.

    Raises:
        Unreadable: this is no delimited text with a header.
    """
    head = read_head(sample)
    found = meant(head)
    supplier = _id(name)
    lines = [
        "# A draft: read it through, and decide what is marked. A mark goes when it is decided.",
        "apiVersion: v3.2.0",
        "kind: DataContract",
        f"{_DECIDE}an id for this supplier; it is in every derived id and cannot be changed later.",
        f"id: {_quoted(supplier)}",
        f"name: {_quoted(name)}",
        "version: 1.0.0",
        "status: draft",
        "servers:",
        "  - server: inbox",
        "    type: s3",
        f"    location: {_quoted(f's3://transactions/{supplier}/*.csv')}  {_DECIDE}where they lie.",
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
            lines += _unmapped(column, head, found)
    for number, header in enumerate(head.header):
        if number not in found.values():
            lines += _property(
                header or f"column {number}",
                header,
                options=("logicalType: string",),
                custom={"ignored": True},
            )
    return "\n".join(lines) + "\n"


def _id(name: str) -> str:
    """A name for a supplier's files: the file's without the dates and numbers at its end."""
    slug = plain(name).replace(" ", "-")
    undated = _DATED.sub("", slug) if re.search(r"\d", slug) else slug
    return undated.strip("-") or "supplier"


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


def _amounts(head: Head, found: Mapping[str, int]) -> list[str]:
    """The cells that hold amounts."""
    columns = [found[each] for each in ("amount", "debit", "credit") if each in found]
    return [cell for number in columns for cell in head.column(number)]


def _amount(head: Head, found: Mapping[str, int]) -> list[str]:
    if not {"amount", "debit"} & found.keys():
        written = {"decimalSeparator": ".", "thousandsSeparator": ","}
        return [
            *_hole("amount", "logicalType: number", custom=written),
            "      # Where debits and credits stand in two columns, take these lines instead:",
            *_commented(_two_columns("DEBIT HEADER", "CREDIT HEADER", written)),
        ]
    texts = pl.Series(_amounts(head, found), dtype=pl.String)
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
    if "debit" in found:
        return _two_columns(head.header[found["debit"]], head.header[found["credit"]], custom)
    options = ("logicalType: number", "required: true")
    return _property("amount", head.header[found["amount"]], options=options, custom=custom)


def _two_columns(debit: str, credit: str, custom: Mapping[str, object]) -> list[str]:
    return _property(
        "amount",
        None,
        options=("logicalType: number", "required: true"),
        custom={
            "derivation": {"from": "debitAndCredit", "debit": debit, "credit": credit},
            **custom,
        },
    )


def _timestamp(head: Head, found: Mapping[str, int]) -> list[str]:
    if "timestamp" not in found:
        return _hole("timestamp", *_written_times("yyyy-MM-dd"))
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
    if not patterns:
        note = f"the format of the times, which is not known; and {note}"
    options = (*_written_times(patterns[0] if patterns else "yyyy-MM-dd"), "required: true")
    custom = {"furtherFormats": patterns[1:]} if patterns[1:] else {}
    header = head.header[found["timestamp"]]
    return _property("timestamp", header, options=options, custom=custom, note=note)


def _written_times(pattern: str) -> tuple[str, ...]:
    return (
        "logicalType: timestamp",
        "logicalTypeOptions:",
        f"  format: {_quoted(pattern)}",
        "  defaultTimezone: UTC",
    )


def _mapped(column: str, head: Head, found: Mapping[str, int]) -> list[str]:
    """A column that a header was found for."""
    options = _text_options(column)
    known = VALUE_OF.get(column, {})
    words = {word: known.get(plain(word)) for word in head.column(found[column])}
    values = {word: value for word, value in words.items() if value and word != value}
    note = ""
    if known and None in words.values():
        meanings = ", ".join(dict.fromkeys(known.values()))
        note = f"some words of this column mean nothing known; map them to {meanings}."
    custom = {"valueMap": values} if values else {}
    if column == "transaction_id" and "ref" in plain(head.header[found[column]]):
        note = "whether each transaction has another one; if not, derive it from content."
    return _property(column, head.header[found[column]], options=options, custom=custom, note=note)


def _text_options(column: str) -> tuple[str, ...]:
    if column in {"description", "merchant"}:
        return "logicalType: string", "classification: confidential", "tags: [pii]"
    return ("logicalType: string",)


def _why_no_id(head: Head) -> str:
    """What speaks against the column whose header says that it is an id."""
    number = like_id(head)
    if number is None:
        return "no header looks like an id"
    cells, all_of_it = head.column(number), len(head.columns[number])
    empty, repeated = all_of_it - len(cells), len(cells) - len(set(cells))
    return (
        f"{_quoted(head.header[number])} looks like an id, but of its first {all_of_it} cells "
        f"{empty} are empty and {repeated} repeat another one"
    )


def _unmapped(column: str, head: Head, found: Mapping[str, int]) -> list[str]:
    """A column that no header was found for."""
    if column == "description":
        return _hole(column, *_text_options(column))
    signed = is_signed(_amounts(head, found))
    custom: dict[str, object] = {}
    if column == "transaction_id":
        custom["derivation"] = {"from": "content"}
        note = f"{_why_no_id(head)}, so it is derived from all cells of a record."
    elif column == "currency":
        custom["default"] = _currency(head, found)
        note = "the currency of all amounts."
    elif column == "operation_type":
        custom["default"] = "payment"
        note = "what all transactions are."
    elif column == "side" and (signed or "amount" not in found):
        custom["derivation"] = {
            "from": "amountSign",
            "positive": "credit",
            "zero": "debit",
            "negative": "debit",
        }
        if "debit" in found:
            note = ""
        elif "amount" in found:
            note = "whether a negative amount is a debit."
        else:
            note = "whether a negative amount is a debit; of amounts without signs, what side is."
    elif column == "side":
        custom["default"] = "debit"
        note = "the side of all transactions."
    else:
        return []
    return _property(column, None, options=("logicalType: string",), custom=custom, note=note)


def _currency(head: Head, found: Mapping[str, int]) -> str:
    """The currency that the headers of the amounts name, or a sign in their cells."""
    headers = " ".join(
        head.header[found[each]] for each in ("amount", "debit", "credit") if each in found
    )
    named = (each for each in re.findall(r"\b[A-Z]{3}\b", headers) if each in CURRENCIES)
    signs = headers + "".join(_amounts(head, found))
    return next(named, None) or next(
        (code for sign, code in _SIGNS.items() if sign in signs), "EUR"
    )


def _hole(column: str, *options: str, custom: Mapping[str, object] | None = None) -> list[str]:
    """A column that must be there and that no header was found for, to be written by a person."""
    lines = _property(column, "HEADER", options=(*options, "required: true"), custom=custom)
    return [
        f"      {_DECIDE}no header was known for {column}; write its own, and take the # off.",
        *_commented(lines),
    ]


def _commented(lines: Sequence[str]) -> list[str]:
    return [f"      # {line.removeprefix('      ')}" for line in lines]
