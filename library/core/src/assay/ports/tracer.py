"""Traces, for those who ask where the time of a chunk went."""

from contextlib import AbstractContextManager
from typing import Literal, Protocol, TypeAlias

from assay.domain.chunk import Chunk
from assay.domain.tally import Tally

Step: TypeAlias = Literal["decode", "classify", "commit"]


class Trace(Protocol):
    """The way of one chunk. Never raises."""

    def step(self, name: Step, records: int) -> AbstractContextManager[None]:
        """One attempt at a step, for as long as the block lasts, in whichever thread.

        What is asked of others in the block belongs to the step. Of what it raises the kind is
        noted, and never the message.
        """
        ...

    def end(self, tally: Tally | None) -> None:
        """The chunk is committed; with None: it, or what was left of it, was given up."""
        ...


class Tracer(Protocol):
    """Follows chunks from their reading to their commit. Never raises, and waits for nobody."""

    def begin(self, chunk: Chunk, *, run_id: str, source: str, seconds: float) -> Trace:
        """A chunk was handed out by its source.

        Args:
            chunk: it is linked to the traces of its records, `Chunk.traced`.
            run_id: of the run that reads it.
            source: under which the store keeps positions.
            seconds: that its source was waited for.
        """
        ...
