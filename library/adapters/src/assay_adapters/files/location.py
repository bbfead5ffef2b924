"""Local paths and `file:` URIs."""

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from assay.domain.errors import Fatal
from assay.domain.pattern import is_pattern, literal
from assay_adapters.files.errors import translated

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


def located(uri: str) -> str:
    """The same place as a URI that is absolute, with links resolved.

    A pattern stays one, behind the folder that it looks into. A folder ends in `/`.

    Raises:
        Fatal: it is the URI of something else, or access is denied.
    """
    with translated(uri):
        if not is_pattern(uri):
            path = path_of(uri)
            return _as_folder(path) if uri.endswith("/") or path.is_dir() else path.as_uri()
        folder, rest = parted(pattern_of(uri))
        return _as_folder(folder) + quote(os.fsencode(rest), safe="*?[]!^-/")


def parted(pattern: str) -> tuple[Path, str]:
    """The folder that a prefix or pattern looks into, with links resolved, and what follows it."""
    folder, slash, _ = literal(pattern).rpartition("/")
    return Path(folder or slash or ".").resolve(), pattern[len(folder + slash) :]


def _as_folder(path: Path) -> str:
    return path.as_uri().rstrip("/") + "/"


def _in_uri(uri: str) -> str | None:
    """What follows the host of a `file:` URI; None of a path."""
    if uri.startswith("file://"):
        host, slash, rest = uri.removeprefix("file://").partition("/")
        if host in {"", "localhost"} and slash:
            return slash + rest
        raise Fatal(f"{uri} names no local file; it should read file:///path")
    if not uri or _SCHEME.match(uri):
        raise Fatal(f"{uri} is no local path; files are named by a path, file:// or s3://")
    return None


def _decoded(text: str) -> str:
    return os.fsdecode(unquote_to_bytes(text))
