"""What a file system may answer, in the words of `assay.domain.errors`."""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from assay.domain.errors import Fatal, Unavailable

_PASSING: Final = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.EDQUOT,
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOSPC,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)


@contextmanager
def translated(place: str) -> Generator[None]:
    """Raises errors of the operating system as those of the domain.

    Raises:
        Unavailable: the disk is full, the share is away, too many files are open.
        Fatal: anything else; says what to do.
    """
    try:
        yield
    except OSError as error:
        where = _shown(error.filename if isinstance(error.filename, str) else place)
        if isinstance(error, PermissionError):
            raise Fatal(f"{where} is denied to this process: {error.strerror}") from error
        kind = Unavailable if error.errno in _PASSING else Fatal
        raise kind(f"{where}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL in a name
        raise Fatal(f"{_shown(place)} is no path: {error}") from error


def _shown(place: str) -> str:
    """Bytes of a name that are no UTF-8 cannot be written to a log as they are."""
    return place.encode(errors="backslashreplace").decode()
