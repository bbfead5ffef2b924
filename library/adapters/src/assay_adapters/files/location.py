"""Local paths and `file:` URIs."""

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes

from assay.domain.errors import Fatal

_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# A special character that the URI encodes is no part of a pattern.
_ENCODED: Final = {"%2A": "[*]", "%3F": "[?]", "%5B": "[[]"}
_ENCODED_SPECIAL: Final = re.compile("|".join(_ENCODED), re.IGNORECASE)


def path_of(uri: str) -> Path:
    """The path that a URI names, with links resolved; it need not exist.

    Args:
        uri: `file:///…` with percent-encoding, or a path as it is.

    Raises:
        Fatal: it is the URI of something else.
    """
    rest = _in_uri(uri)
    return Path(uri if rest is None else _decoded(rest)).resolve()


def pattern_of(uri: str) -> str:
    """A prefix or pattern as a path, for `assay.domain.pattern`.

    Raises:
        Fatal: it is the URI of something else.
    """
    rest = _in_uri(uri)
    if rest is None:
        return uri
    return _decoded(_ENCODED_SPECIAL.sub(lambda found: _ENCODED[found[0].upper()], rest))


def _in_uri(uri: str) -> str | None:
    """What follows the host of a `file:` URI; None of a path."""
    if uri.startswith("file://"):
        host, slash, rest = uri.removeprefix("file://").partition("/")
        if host in {"", "localhost"} and slash:
            return slash + rest
        raise Fatal(f"{uri} names no local file; it should read file:///path")
    if not uri or _SCHEME.match(uri):
        raise Fatal(f"{uri} is no local path")
    return None


def _decoded(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))
