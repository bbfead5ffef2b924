"""A publisher that keeps what it publishes."""

from dataclasses import dataclass, field

from assay.memory.faults import Faults
from assay.ports.letters import Claim


@dataclass
class MemoryPublisher:
    """Keeps the latest claim under each name.

    Attributes:
        published: the claims by name.
        faults: at `publish` and `publish.done`.
    """

    published: dict[str, Claim] = field(default_factory=dict[str, Claim])
    faults: Faults = field(default_factory=Faults)

    def publish(self, claim: Claim) -> str:
        """Publishes all letters of a claim."""
        self.faults.at("publish")
        self.published[claim.name] = claim
        self.faults.at("publish.done")
        return f"memory:{claim.name}"
