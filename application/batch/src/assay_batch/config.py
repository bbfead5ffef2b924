"""Settings of the batch service."""

from pydantic import BaseModel, Field


class BatchConfig(BaseModel, frozen=True):
    """The section `batch`.

    Attributes:
        chunk_records: records that are classified and committed together, at most; fewer where
            that is slow.
        window_chunks: chunks that are read and not committed yet, at most.
        window_mib: the same in MiB of records.
        workers: jobs that are done at the same time; one is left for the commit.
    """

    chunk_records: int = Field(default=50_000, ge=1, le=1_000_000)
    window_chunks: int = Field(default=3, ge=1)
    window_mib: int = Field(default=64, ge=1)
    workers: int = Field(default=4, ge=2)
