"""Cells of files for spreadsheets, in which no formula hides."""

from typing import Final

from assay_cli.output import decoded, printable

_LONGEST: Final = 32_767  # characters of a cell that Excel takes; it breaks the row beyond
_FORMULA: Final = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def cell(value: object) -> str:
    """A value as text that a spreadsheet shows as it is, control characters escaped.

    A text that it would take for a formula gets an apostrophe in front, as OWASP advises:
    https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = decoded(value) if isinstance(value, bytes) else printable(value)
    if isinstance(value, str | bytes) and text.lstrip().startswith(_FORMULA):
        text = f"'{text}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
