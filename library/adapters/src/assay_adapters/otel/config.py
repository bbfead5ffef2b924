"""Settings of traces."""

from pydantic import BaseModel


class OtelConfig(BaseModel, frozen=True):
    """The section `otel`; where traces go, and how many, OpenTelemetry's own variables say.

    Attributes:
        traces: whether there are any.
    """

    traces: bool = False
