"""Dead letters as files: CSV for spreadsheets, JSON lines for programs."""

import csv
import os
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from assay.domain.errors import Fatal
from assay_cli.output import decoded, printable

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
_LONGEST: Final = 32_767  # characters of a cell that Excel takes; it breaks the row beyond
_FORMULA: Final = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


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
        _whole(out, replace=replace) as part,
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
    with _whole(out, replace=replace) as part, part.open("wb") as file:
        for each in letters:
            file.write(each)
            written += each.count(b"\n")
    return written


@contextmanager
def _whole(out: Path, *, replace: bool) -> Generator[Path]:
    """A file beside it that takes its place at the end of the block; only its owner may read it.

    A link stays one: what it leads to is replaced.
    """
    if out.exists():
        if not out.is_file():
            raise Fatal(f"{out} is no regular file; name one, or one that is not there yet")
        if not replace:
            raise Fatal(f"{out} exists; --force replaces it")
    place = Path(os.path.realpath(out))
    part = place.with_name(f".{place.name}.part")
    try:
        part.unlink(missing_ok=True)
        part.touch(mode=0o600, exist_ok=False)
        yield part
        part.replace(place)
    except OSError as error:
        raise Fatal(f"{out} cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)


def _write(rows: Any, letters: Iterable[Mapping[str, Any]]) -> int:
    written = 0
    rows.writerow(COLUMNS)
    for written, letter in enumerate(letters, start=1):  # noqa: B007 - it is returned
        rows.writerow([cell(letter[name]) for name in COLUMNS])
    return written


def cell(value: object) -> str:
    """A value as text that a spreadsheet shows as it is, control characters escaped.

    A text that it would take for a formula gets an apostrophe in front, as OWASP advises:
    https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = decoded(value) if isinstance(value, bytes) else printable(value)
    if isinstance(value, str | bytes) and text.lstrip().startswith(_FORMULA):
        text = f"'{text}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
