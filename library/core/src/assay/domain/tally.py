"""Counts of records per door."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tally:
    """How many records came in and through which door they left.

    Attributes:
        read: records that came in.
        classified: of these, stored with a prediction.
        rejected: of these, kept as dead letters.
        duplicate: of these, known already with the same content.
        needs_review: of the classified ones, those that the model is unsure of.
    """

    read: int = 0
    classified: int = 0
    rejected: int = 0
    duplicate: int = 0
    needs_review: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.read + other.read,
            self.classified + other.classified,
            self.rejected + other.rejected,
            self.duplicate + other.duplicate,
            self.needs_review + other.needs_review,
        )

    @property
    def balances(self) -> bool:
        """Whether every record that came in left through exactly one door."""
        return self.read == self.classified + self.rejected + self.duplicate
