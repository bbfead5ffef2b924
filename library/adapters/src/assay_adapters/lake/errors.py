"""What delta-rs and the way to its table may answer, in the words of `assay.domain.errors`."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from deltalake.exceptions import CommitFailedError, DeltaError

from assay.domain.errors import Fatal, Unavailable

_LONGEST: Final = 200
_PAINT: Final = re.compile(r"\x1b\[[0-9;]*m|\u21b3")


@contextmanager
def translated(uri: str) -> Generator[None]:
    """Raises errors of delta-rs as those of the domain.

    Raises:
        Unavailable: the place of the table is away, or somebody else has changed it meanwhile.
        Fatal: anything else.
    """
    try:
        yield
    except CommitFailedError:
        raise Unavailable(f"somebody else changes {uri}") from None
    except OSError as error:
        raise Unavailable(f"the place of {uri} is away: {_said(error)}") from None
    except DeltaError as error:
        raise Fatal(f"{uri} cannot be used: {_said(error)}") from None


def _said(error: Exception) -> str:
    """What it says, in a line: libraries in Rust paint a tree of causes."""
    return " ".join(_PAINT.sub("", str(error)).split())[:_LONGEST]
