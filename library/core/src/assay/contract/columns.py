"""Which canonical columns a file's headers mean, by their words and by the cells below them."""

import re
from collections.abc import Iterable
from typing import Final

from assay.contract.head import Head
from assay.contract.words import RANKS, VALUE_OF, plain, spellings
from assay.domain.rules import COLUMNS

# What most cells of a column must be, so that its header is believed.
_EVIDENCE: Final = {
    "amount": re.compile(r".*[0-9].*"),
    "debit": re.compile(r".*[0-9].*"),
    "credit": re.compile(r".*[0-9].*"),
    "currency": re.compile(r"[^0-9]+"),
    "timestamp": re.compile(r".*[0-9].*"),
    "mcc": re.compile(r"[0-9]{4}"),
}
_DISTINCT: Final = 0.9  # of the cells of an id
_NEGATIVE: Final = re.compile(r"[-(\u2212]")


def meant(head: Head) -> dict[str, int]:
    """The numbers of the columns that headers most likely mean, each header once.

    `debit` and `credit` are there in the place of `amount` where it is made of them. Where only the
    merchant is known it is the description as well.
    """
    found: dict[str, int] = {}
    for column in ("debit", "credit", *COLUMNS):
        ranked = sorted(
            (RANKS[column][word], number)
            for number, header in enumerate(head.header)
            if number not in found.values()
            for word in spellings(header)
            if word in RANKS[column] and _is_believed(column, word, head, number)
        )
        if ranked:
            found[column] = ranked[0][1]
    amounts = head.column(found["amount"]) if "amount" in found else ()
    says_direction = is_signed(amounts) or (bool(amounts) and "side" in found)
    if {"debit", "credit"} <= found.keys() and not says_direction:
        found.pop("amount", None)
    else:
        found.pop("debit", None)
        found.pop("credit", None)
    if "description" not in found and "merchant" in found:
        found["description"] = found["merchant"]
    return found


def like_id(head: Head) -> int | None:
    """The first column whose header says that it is an id, whatever its cells say."""
    ranks = RANKS["transaction_id"]
    named = (any(word in ranks for word in spellings(header)) for header in head.header)
    return next((number for number, is_named in enumerate(named) if is_named), None)


def is_signed(amounts: Iterable[str]) -> bool:
    """Whether one of these amounts is negative."""
    return any(map(_NEGATIVE.search, amounts))


def _is_believed(column: str, word: str, head: Head, number: int) -> bool:
    """Whether the cells do not speak against what their header says."""
    cells = head.column(number)
    if column == "transaction_id":
        return len(set(cells)) >= _DISTINCT * len(head.columns[number])
    if column == "description" and 2 * len(cells) < len(head.columns[number]):
        return False
    if not cells:
        return True
    if column in {"operation_type", "side"}:
        are_sides = 2 * sum(plain(cell) in VALUE_OF["side"] for cell in cells) > len(cells)
        if column == "operation_type":
            return not are_sides
        means_more = any(word in ranks for other, ranks in RANKS.items() if other != "side")
        return are_sides or not means_more
    evidence = _EVIDENCE.get(column)
    return evidence is None or 2 * sum(map(bool, map(evidence.fullmatch, cells))) > len(cells)
