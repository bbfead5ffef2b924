"""A run and its datasets, as catalogs are to know them.

Datasets are named as https://openlineage.io/docs/spec/naming has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

Dataset: TypeAlias = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True)
class Job:
    """A run, as catalogs are to know it.

    Attributes:
        name: of all runs that read this in this way: `batch`, `stream`, … and its source.
        run_id: its name, a UUID.
        kind: whether it ends by itself.
        reads: the topic or table, its namespace and name; None of files, which are told of later.
        writes: those that it writes.
    """

    name: str
    run_id: str
    kind: Literal["BATCH", "STREAMING"]
    reads: Dataset | None
    writes: Sequence[Dataset]


def tables_at(url: str, *names: str) -> list[Dataset]:
    """Tables of the database with this URL."""
    found = urlsplit(url)
    first = found.netloc.rpartition("@")[2].partition(",")[0]  # of several that stand in
    server = first if first.rpartition(":")[2].isdigit() else f"{first}:5432"
    database = found.path.strip("/")
    return [(f"postgres://{server}", f"{database}.public.{name}") for name in names]


def topic_at(servers: str, name: str) -> Dataset:
    """A topic of the brokers at these addresses."""
    return f"kafka://{servers.split(',', maxsplit=1)[0].strip()}", name
