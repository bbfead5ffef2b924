"""A file that is written whole or not at all."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from assay.domain.errors import Fatal


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
