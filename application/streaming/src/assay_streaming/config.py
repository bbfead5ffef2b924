"""Settings of the streaming services."""

from pydantic import BaseModel, Field


class StreamConfig(BaseModel, frozen=True):
    """The section `stream`.

    Attributes:
        topic: where transactions come from.
        dead_letter_topic: where rejects are published.
        event_topic: where one event per reject and per change of state is published.
        partitions: of topics that `assay stream topics` makes.
        replication: how often each partition of these is kept; unless given, as the brokers say.
    """

    topic: str = "transactions"
    dead_letter_topic: str = "failed-transactions"
    event_topic: str = "errors"
    partitions: int = Field(default=3, ge=1)
    replication: int | None = Field(default=None, ge=1)
