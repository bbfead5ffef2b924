"""Short texts in local files."""

from pathlib import Path

from assay.domain.errors import Fatal


def read_text(path: Path, what: str) -> str:
    """A file of UTF-8.

    Args:
        path: where it is.
        what: what it is, for the message.

    Raises:
        Fatal: it cannot be read, or is something else.
    """
    try:
        return path.read_text("utf-8")
    except OSError as error:
        raise Fatal(f"{what} {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Fatal(f"{what} {path} is no UTF-8") from None
