"""The sections of settings: which names there are, and which models read them here.

All services may share one `.env`, while each image carries the packages of its own service only. So
the names stand in a list: whether a variable is one of the product's must be known without the
package that reads it, or the API would refuse a file that says how batch runs work, or nobody would
notice `ASSAY_SEVER__PORT`. The models are found by the entry-point group `assay.settings`, in which
a package registers each section that it reads: only what is installed can be shown and checked.
"""

from importlib.metadata import entry_points
from typing import Final

from pydantic import BaseModel

GROUP: Final = "assay.settings"

OF_CONNECTORS: Final = ("archive", "lake", "search", "series", "webhook")

SECTIONS: Final = (
    "postgres",
    "s3",
    "api",
    "kafka",
    "batch",
    "stream",
    "schema_registry",
    *OF_CONNECTORS,
    "log",
    "otel",
    "openlineage",
    "models",
    "server",
    "local",
)
"""In the order in which they are shown; `local` is read by the local servers, in their own way."""

OTHERS: Final = frozenset({"ASSAY_TEST_DATA", "ASSAY_TEST_WHEELS"})
"""Variables that are no settings."""


def installed() -> dict[str, type[BaseModel]]:
    """The sections whose packages are installed, with their models, those of `SECTIONS` first.

    The others belong to connectors that somebody has written for himself.
    """
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    return {name: found[name].load() for name in names() if name in found}


def is_optional(name: str) -> bool:
    """Whether who says nothing of a section does not want what reads it, as with any connector."""
    return name in OF_CONNECTORS or name not in SECTIONS


def names() -> tuple[str, ...]:
    """All that a variable may begin with: `SECTIONS`, and whatever else is installed."""
    found = {entry.name for entry in entry_points(group=GROUP)}
    return (*SECTIONS, *sorted(found - {*SECTIONS}))
