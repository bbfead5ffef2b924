"""A catalog of data: takes OpenLineage's events over HTTP, and keeps them."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from receiver import Reply, receiver


@dataclass
class Catalog:
    """What has come so far."""

    url: str
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def environment(self) -> dict[str, str]:
        """What has a run tell of itself here."""
        return {"ASSAY_OPENLINEAGE__EVENTS": "true", "OPENLINEAGE_URL": self.url}

    @property
    def states(self) -> list[str]:
        """What has happened, in order."""
        return [each["eventType"] for each in self.events]


@contextmanager
def catalog() -> Generator[Catalog]:
    """A catalog, for as long as the block lasts."""
    kept = Catalog("")

    def take(path: str, body: bytes) -> Reply:
        assert path == "/api/v1/lineage"
        kept.events.append(json.loads(body))
        return Reply(201)

    with receiver(take) as kept.url:
        yield kept
