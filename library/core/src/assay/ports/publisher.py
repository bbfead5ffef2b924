"""Where dead letters go."""

from typing import Protocol

from assay.ports.letters import Claim


class Publisher(Protocol):
    """Publishes dead letters for other people and programs."""

    def publish(self, claim: Claim) -> str:
        """Publishes all letters of a claim; returns once they are safe.

        Publishing the same claim again does no harm: its letters carry ids, or the same object
        is written.

        Returns:
            The place where they can be found.

        Raises:
            NotTaken: some it can publish in no form; all others are safe.
            Unavailable: try again later.
        """
        ...
