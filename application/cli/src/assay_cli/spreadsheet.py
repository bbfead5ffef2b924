"""Files for spreadsheets: written whole or not at all, and cells that no formula hides in."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from assay.domain.errors import Fatal
from assay_cli.output import decoded, printable

_LONGEST: Final = 32_767  # characters of a cell that Excel takes; it breaks the row beyond
_FORMULA: Final = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


@contextmanager
def whole(out: Path, *, replace: bool) -> Generator[Path]:
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


def cell(value: object) -> str:
    """A value as text that a spreadsheet shows as it is, control characters escaped.

    A text that it would take for a formula gets an apostrophe in front, as OWASP advises:
    https://owasp.org/www-community/attacks/CSV_Injection
    """
    text = decoded(value) if isinstance(value, bytes) else printable(value)
    if isinstance(value, str | bytes) and text.lstrip().startswith(_FORMULA):
        text = f"'{text}"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
