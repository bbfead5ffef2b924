"""The command `assay version`."""

import platform
import re
from importlib.metadata import requires
from importlib.metadata import version as version_of
from typing import Final

from assay_cli.build import build
from assay_cli.output import Json, add, print_json, show, table

PACKAGES: Final = (
    "assay",
    "assay-adapters",
    "assay-batch",
    "assay-cli",
    "assay-local",
    "assay-ml-api",
    "assay-model",
    "assay-modelling",
    "assay-streaming",
)
"""Our own, of which an installation may lack some."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def version(*, as_json: Json = False) -> None:
    """Show the versions of Assay, its build, Python and the libraries beneath.

    The build is the commit, the time of an image, and the digest of `uv.lock`: they are known in
    an image and in a checkout, and not where wheels alone are installed.

    All of it belongs into every report of a fault.
    """
    made = build()
    system = {"python": platform.python_version(), "platform": platform.platform()}
    libraries = {name: version_of(name) for name in _libraries()}
    found = {"assay": version_of("assay"), "build": made, **system}
    if as_json:
        print_json({**found, "libraries": libraries})
        return
    shown = table("what", "version")
    for name, number in {
        "assay": found["assay"],
        **(made or {"build": "not recorded"}),
        **system,
        **libraries,
    }.items():
        if number is not None:
            add(shown, name, number)
    show(shown)


def _libraries() -> list[str]:
    """What the core and the adapters are built on, as their packages declare it."""
    declared = [each for name in ("assay", "assay-adapters") for each in requires(name) or ()]
    names = {
        match[0] for each in declared if "extra ==" not in each if (match := _NAME.match(each))
    }
    return sorted(names - set(PACKAGES))
