"""What needs review as a file for spreadsheets, and the same filled in.

People write into the column `category`; what they leave empty is not corrected. `reason` may stay
empty, the other columns are for their eyes only.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from assay.domain.errors import Fatal, Unreadable
from assay.domain.taxonomy import DEFAULT
from assay_cli.bootstrap import whole
from assay_cli.spreadsheet import cell

COLUMNS: Final = (
    "group",
    "category",
    "reason",
    "predicted",
    "confidence",
    "transactions",
    "amounts",
    "description",
    "merchant",
)
# Digits, or digits around an e, which a spreadsheet takes for a number and rounds.
_LIKE_A_NUMBER: Final = re.compile(r"[0-9]+(e[0-9]+)?")
_DELIMITERS: Final = ",;\t"
_SHOWN: Final = 10  # faults of a file, at most


class WrongFile(Unreadable):
    """A file of corrections cannot be taken; nothing of it was noted."""


def known(category: str) -> str:
    """The category, if there is one of this name.

    Raises:
        Fatal: there is none; names those that there are.
    """
    if fault := _fault(category):
        raise Fatal(f"{fault} There are {', '.join(DEFAULT.categories)}")
    return category


def _fault(category: str) -> str | None:
    """What is wrong with the name of a category, which is not quoted: it may be anything."""
    if category in DEFAULT.categories:
        return None
    near = get_close_matches(category.title(), DEFAULT.categories, n=1)
    return "there is no such category" + (f"; did you mean {near[0]}?" if near else ".")


def amounts(sums: Mapping[str, str], currency: str | None = None) -> list[str]:
    """Sums by currency in words, as `1,234.50 EUR`; of this currency alone if one is named."""
    return [
        f"{amount(each)} {code}" for code, each in sorted(sums.items()) if currency in {None, code}
    ]


def amount(number: Decimal | str) -> str:
    """An amount with separators."""
    return f"{Decimal(number):,}"


def write(out: Path, groups: Sequence[Mapping[str, Any]], *, delimiter: str, replace: bool) -> None:
    """Writes groups to a file, all of them or none; only its owner may read it.

    Args:
        out: where to.
        groups: as `Review.groups` has them.
        delimiter: between cells.
        replace: whether a file of this name may be replaced.

    Raises:
        Fatal: the file exists or cannot be written.
    """
    with (
        whole(out, replace=replace) as part,
        part.open("w", encoding="utf-8-sig", newline="") as file,
    ):
        rows = csv.writer(file, delimiter=delimiter)
        rows.writerow(COLUMNS)
        for each in groups:
            name = each["feature_hash"]
            rows.writerow(
                [
                    f"'{name}" if _LIKE_A_NUMBER.fullmatch(name) else cell(name),
                    "",
                    "",
                    cell(each["category"]),
                    each["confidence"],
                    each["transactions"],
                    ", ".join(amounts(each["amounts"])),
                    cell(each["description"]),
                    cell(each["merchant"]),
                ]
            )


class Filled(dict[str, tuple[str, str | None]]):
    """Category and reason by group; `lines` says where in the file each stands."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[str, int] = {}


def read(file: Path) -> Filled:
    """What people have filled in.

    The delimiter may be a comma, a semicolon or a tab, as the program that saved it has it.

    Raises:
        WrongFile: the file cannot be read, has no such columns, or some lines are wrong: each is
            named by its number, the first being 1.
    """
    found, faults = Filled(), list[str]()
    for line, row in _rows(file):
        group, category = row["group"].removeprefix("'").lower(), row["category"]
        if not category:
            continue
        fault = _fault(category) if group else "there is no group"
        said = found.get(group)
        if fault is None and said is not None and said[0] != category:
            fault = f"another category than in line {found.lines[group]}"
        if fault:
            faults.append(f"line {line}: {fault}")
        elif said is None:
            found[group], found.lines[group] = (category, row.get("reason") or None), line
    refuse(file, faults)
    return found


def refuse(file: Path, faults: Sequence[str]) -> None:
    """Raises `WrongFile` where there are faults; names the first ones."""
    if faults:
        more = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        lines = "\n".join(f"  {each}" for each in [*faults[:_SHOWN], *more])
        raise WrongFile(f"nothing of {file} was noted\n{lines}")


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each record by the names of its columns, with the number of the line that it ends in."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            head = opened.readline()
            delimiter = max(_DELIMITERS, key=head.count)
            named = csv.reader([head], delimiter=delimiter)
            columns = [each.strip().lower() for cells in named for each in cells]
            if not {"group", "category"} <= set(columns):
                raise WrongFile(
                    f"{file} has no columns group and category: `assay review list --csv` writes"
                    " such a file"
                )
            records = csv.reader(opened, delimiter=delimiter, strict=True)
            for cells in records:
                named = zip(columns, cells, strict=False)
                yield (
                    records.line_num + 1,
                    {"group": "", "category": ""} | {name: each.strip() for name, each in named},
                )
    except OSError as error:
        raise WrongFile(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongFile(f"{file} is no UTF-8: save it as CSV UTF-8") from None
    except csv.Error as error:
        raise WrongFile(f"{file} is no CSV: {error}") from None
