"""What this installation was made of: which commit, and which locked dependencies."""

import hashlib
import json
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final, TypedDict
from urllib.parse import urlparse
from urllib.request import url2pathname

RECORD: Final = "build.json"
"""At the root of an image's environment; `infra/docker/install` writes it."""


class Build(TypedDict):
    """Of an installation.

    Attributes:
        revision: the commit, in full; `-dirty` follows where files differ from it.
        built: when the image was built, UTC, RFC 3339; None in a checkout.
        lock: the first twelve digits of the SHA-256 of `uv.lock`.
    """

    revision: str | None
    built: str | None
    lock: str


def build() -> Build | None:
    """What the image's build has recorded, or what the checkout says.

    Returns:
        None where only wheels are installed: they are those of a release, whose tag is their
        version, and their dependencies are what the installer chose.
    """
    record = Path(sys.prefix) / RECORD
    if record.exists():
        return json.loads(record.read_bytes())
    checkout = _checkout()
    if checkout is None:
        return None
    lock = hashlib.sha256((checkout / "uv.lock").read_bytes()).hexdigest()
    return {"revision": _revision(checkout), "built": None, "lock": lock[:12]}


def _checkout() -> Path | None:
    """The workspace that this package is installed from, to be edited there (PEP 610)."""
    written = distribution("assay-cli").read_text("direct_url.json")
    origin: dict[str, Any] = json.loads(written or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    url: str = origin["url"]
    member = Path(url2pathname(urlparse(url).path))
    return next((each for each in member.parents if (each / "uv.lock").exists()), None)


def _revision(checkout: Path) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    asked = ("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    done = subprocess.run(  # noqa: S603 - a command of constants
        [git, "-C", str(checkout), *asked], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or None  # an archive of the sources is no repository
