"""Dead letters as files: CSV for spreadsheets, JSON lines for programs."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from assay_cli.bootstrap import whole
from assay_cli.spreadsheet import cell

COLUMNS: Final = (
    "id",
    "state",
    "stage",
    "code",
    "field",
    "message",
    "transaction_id",
    "source",
    "partition",
    "position",
    "run_id",
    "retriable",
    "attempt",
    "model_version",
    "created_at",
    "length",
    "header",
    "raw",
)


def write(out: Path, letters: Iterable[Mapping[str, Any]], *, delimiter: str, replace: bool) -> int:
    """Writes letters to a file, all of them or none; only its owner may read it.

    It begins with a byte order mark, without which Excel takes UTF-8 for a local encoding. No
    cell is taken for a formula: see `cell`.

    Args:
        out: where to.
        letters: with the columns `COLUMNS`.
        delimiter: between cells.
        replace: whether a file of this name may be replaced.

    Returns:
        How many.

    Raises:
        Fatal: the file exists or cannot be written.
    """
    with (
        whole(out, replace=replace) as part,
        part.open("w", encoding="utf-8-sig", newline="") as file,
    ):
        return _write(csv.writer(file, delimiter=delimiter), letters)


def write_lines(out: Path, letters: Iterable[bytes], *, replace: bool) -> int:
    """The same as JSON lines.

    Args:
        out: where to.
        letters: in lines of `assay.wire.envelope`, some at a time.
        replace: whether a file of this name may be replaced.

    Returns:
        How many.

    Raises:
        Fatal: the file exists or cannot be written.
    """
    written = 0
    with whole(out, replace=replace) as part, part.open("wb") as file:
        for each in letters:
            file.write(each)
            written += each.count(b"\n")
    return written


def _write(rows: Any, letters: Iterable[Mapping[str, Any]]) -> int:
    written = 0
    rows.writerow(COLUMNS)
    for written, letter in enumerate(letters, start=1):  # noqa: B007 - it is returned
        rows.writerow([cell(letter[name]) for name in COLUMNS])
    return written
