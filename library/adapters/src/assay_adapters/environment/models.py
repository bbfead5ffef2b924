"""Settings of the models' registry, section `models`, which the model API and commands share."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

from assay.domain.pattern import is_pattern


def _located(value: str) -> str:
    """The same, ending in `/`; services and commands in other folders mean the same place."""
    if not value.startswith(("s3://", "file:///", "/")) or is_pattern(value):
        raise ValueError("must be s3://bucket/prefix/, file:///folder/ or an absolute path")
    return value if value.endswith("/") else value + "/"


class ModelsConfig(BaseModel, frozen=True):
    """The section `models`.

    Attributes:
        registry: where versions of the model are, and published corrections: `s3://bucket/prefix/`,
            `file:///folder/` or an absolute path; none: the model that the package carries is
            served.
        poll: seconds from one look at the registry to the next.
        version: the one to serve, whatever is promoted; none: the promoted one.
    """

    registry: Annotated[str, AfterValidator(_located)] | None = None
    poll: float = Field(default=10.0, gt=0, le=86_400)
    version: str | None = None
