"""The command `assay version`."""

import platform
import re
from importlib.metadata import requires
from importlib.metadata import version as version_of
from typing import Final

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
)
"""Our own, of which an installation may lack some."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def version(*, as_json: Json = False) -> None:
    """Show the versions of Assay, of Python and of the libraries beneath.

    They belong into every report of a fault.
    """
    found = {
        "assay": version_of("assay"),
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    libraries = {name: version_of(name) for name in _libraries()}
    if as_json:
        print_json({**found, "libraries": libraries})
        return
    shown = table("what", "version")
    for name, number in {**found, **libraries}.items():
        add(shown, name, number)
    show(shown)


def _libraries() -> list[str]:
    """What the core and the adapters are built on, as their packages declare it."""
    declared = [each for name in ("assay", "assay-adapters") for each in requires(name) or ()]
    names = {
        match[0] for each in declared if "extra ==" not in each if (match := _NAME.match(each))
    }
    return sorted(names - set(PACKAGES))
