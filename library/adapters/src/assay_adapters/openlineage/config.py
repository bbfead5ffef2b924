"""Settings of lineage."""

from pydantic import BaseModel, Field


class OpenLineageConfig(BaseModel, frozen=True):
    """The section `openlineage`; where events go, OpenLineage's own variables say.

    Attributes:
        events: whether there are any.
        every: seconds from one event `RUNNING` of a stream to the next.
    """

    events: bool = False
    every: float = Field(default=300.0, gt=0)
