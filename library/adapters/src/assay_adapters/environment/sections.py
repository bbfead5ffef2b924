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

SECTIONS: Final = (
    "postgres",
    "s3",
    "api",
    "kafka",
    "batch",
    "stream",
    "log",
    "models",
    "server",
    "local",
)
"""In the order in which they are shown; `local` is read by the local servers, in their own way."""

OTHERS: Final = frozenset({"ASSAY_TEST_DATA"})
"""Variables that are no settings."""


def installed() -> dict[str, type[BaseModel]]:
    """The sections whose packages are installed, with their models, in the order of `SECTIONS`."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    return {name: found[name].load() for name in SECTIONS if name in found}
