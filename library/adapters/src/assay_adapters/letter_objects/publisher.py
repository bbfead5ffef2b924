"""Publishes dead letters as files of JSON lines."""

from assay.ports.letters import Claim
from assay.ports.objects import Objects
from assay.wire.envelope import letters_to_jsonl


class LetterObjects:
    """A `Publisher`: one object `<destination><name of the claim>.jsonl` for each claim.

    The lines are described in `assay.wire.envelope`. The claim's name makes the object's name, so
    a claim that is published again writes the same object.

    Args:
        objects: where to write.
    """

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def publish(self, claim: Claim) -> str:
        """Writes the letters of a claim; returns the object's URI.

        Raises:
            Unavailable: try again later.
            Fatal: the destination may not be written to, or does not exist.
        """
        destination: str = claim.letters["destination"].unique().item()
        body = letters_to_jsonl(claim.letters)
        return self._objects.write(f"{destination}{claim.name}.jsonl", body).uri
