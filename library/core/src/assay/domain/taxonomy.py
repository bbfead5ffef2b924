"""The categories a model may answer with, as data with a version."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Taxonomy:
    """A named, versioned, ordered list of distinct categories.

    Raises:
        ValueError: a category stands twice, or there is none.
    """

    name: str
    version: str
    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.categories or len(set(self.categories)) != len(self.categories):
            raise ValueError(f"the categories of {self.name} {self.version} must be distinct")


DEFAULT = Taxonomy(
    name="assay",
    version="1",
    categories=(
        "Rent",
        "Salary Income",
        "Food",
        "Restaurant",
        "Client Expenses",
        "Transportation",
        "Utilities",
        "Entertainment",
        "Healthcare",
        "Shopping",
        "Travel",
        "Education",
        "Insurance",
        "Investment",
        "Subscriptions",
        "Home",
        "Government & Taxes",
        "Charity & Membership",
        "Cash & Fees",
        "Transfers",
    ),
)
