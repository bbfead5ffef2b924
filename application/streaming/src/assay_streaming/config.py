"""Settings of the streaming services."""

from typing import Final, Literal

from pydantic import BaseModel, Field, ValidationInfo, field_validator

_NAMED_BEFORE: Final = {
    "topic": "ASSAY_STREAM__TOPIC (or --topic)",
    "dead_letter_topic": "ASSAY_STREAM__DEAD_LETTER_TOPIC",
    "event_topic": "ASSAY_STREAM__EVENT_TOPIC",
    "prediction_topic": "ASSAY_STREAM__PREDICTION_TOPIC",
}
"""Topics that others must not be, and what names them."""


class StreamConfig(BaseModel, frozen=True):
    """The section `stream`. Times are seconds.

    Attributes:
        topic: where transactions come from.
        dead_letter_topic: where rejects are published.
        event_topic: where one event per reject and per change of state is published.
        prediction_topic: where `assay stream classify` puts what it has classified.
        ledger_topic: where it puts its ledger entries. The five are different topics: what a
            service writes it must not read as transactions.
        format: in which the values of transactions and of predictions are put on their topics; both
            are read in any. Avro and Protobuf need a schema registry. Dead letters keep the bytes
            that were read; events and ledger entries are JSON.
        partitions: of topics that `assay stream topics` makes.
        replication: how often each partition of these is kept; unless given, as the brokers say.
        group: consumers of one group share the topic's partitions. Groups of other services than
            `assay stream consume` are this and their names: `assay-classify`.
        instance_id: a name that one service keeps when it is started again, and shares with no
            other of its kind: a short absence moves no partition then, and what a relay has left
            behind is taken up at once.
        start: where a topic begins that was never read.
        chunk_records: records that are classified and committed together, at most; fewer where
            that is slow.
        chunk_mib: the same in MiB of records. Unless it is set, `connect postgres` takes 40 of
            predictions, archive and lake 128.
        linger: until a chunk is cut that is not full.
        window_chunks: chunks that are read and not committed yet, at most.
        window_mib: the same in MiB of records; `connect postgres` 128, archive and lake 512.
        queue_mib: what is fetched ahead of the window, at most; `connect postgres` 64.
        workers: jobs that are done at the same time; one is left for the commit.
        drain: in which what was read may still be committed when partitions move to another
            consumer, or at the end.
        max_attempts: letters that were tried so often are left to people.
        retry_delay: until a letter is tried again by itself, doubled with each attempt; an hour at
            most, unless it is longer itself.
        stall: without progress, and without anything that explains it, until a service does not
            count as alive.
        status_host: where health and metrics are told; `0.0.0.0` in a container.
        status_port: 0 takes a free one, which the log and the table `runs` tell.
    """

    topic: str = Field(default="transactions", min_length=1)
    dead_letter_topic: str = Field(
        default="failed-transactions", min_length=1, validate_default=True
    )
    event_topic: str = Field(default="errors", min_length=1, validate_default=True)
    prediction_topic: str = Field(default="predictions", min_length=1, validate_default=True)
    ledger_topic: str = Field(default="ledger", min_length=1, validate_default=True)
    format: Literal["json", "avro", "protobuf"] = "json"
    partitions: int = Field(default=3, ge=1)
    replication: int | None = Field(default=None, ge=1)
    group: str = Field(default="assay", min_length=1)
    instance_id: str | None = None
    start: Literal["earliest", "latest"] = "earliest"
    chunk_records: int = Field(default=50_000, ge=1, le=1_000_000)
    chunk_mib: int = Field(default=16, ge=1)
    linger: float = Field(default=0.05, ge=0, le=3_600)
    window_chunks: int = Field(default=2, ge=1)
    window_mib: int = Field(default=64, ge=1)
    queue_mib: int = Field(default=32, ge=1)
    workers: int = Field(default=4, ge=2)
    drain: float = Field(default=5, ge=0, le=240)
    max_attempts: int = Field(default=5, ge=1, lt=1 << 15)
    retry_delay: float = Field(default=60, ge=0, le=30 * 86_400)
    stall: float = Field(default=120, gt=0)
    status_host: str = "127.0.0.1"
    status_port: int = Field(default=0, ge=0, le=65_535)

    @field_validator("dead_letter_topic", "event_topic", "prediction_topic", "ledger_topic")
    @classmethod
    def _is_its_own(cls, name: str, info: ValidationInfo) -> str:
        for other, named_by in _NAMED_BEFORE.items():
            if info.data.get(other) == name:
                raise ValueError(f"must be another topic than {named_by} names")
        return name
