"""A tracer that keeps what it is told."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from assay.domain.chunk import Chunk
from assay.domain.tally import Tally
from assay.ports.tracer import Step


@dataclass
class MemoryTrace:
    """The way of one chunk.

    Attributes:
        steps: name, records and what it raised, in the order in which they ended.
        ends: what it was committed with, or None; once.
    """

    chunk: Chunk
    run_id: str
    source: str
    steps: list[tuple[Step, int, str | None]] = field(
        default_factory=list[tuple[Step, int, str | None]]
    )
    ends: list[Tally | None] = field(default_factory=list[Tally | None])

    @contextmanager
    def step(self, name: Step, records: int) -> Generator[None]:
        """One attempt at a step."""
        try:
            yield
        except BaseException as error:
            self.steps.append((name, records, type(error).__name__))
            raise
        self.steps.append((name, records, None))

    def end(self, tally: Tally | None) -> None:
        """The chunk is committed, or given up."""
        self.ends.append(tally)


class MemoryTracer:
    """Keeps a trace of every chunk, in the order in which they were handed out."""

    def __init__(self) -> None:
        self.traces: list[MemoryTrace] = []

    def begin(self, chunk: Chunk, *, run_id: str, source: str, seconds: float) -> MemoryTrace:
        """A chunk was handed out."""
        del seconds
        trace = MemoryTrace(chunk, run_id, source)
        self.traces.append(trace)
        return trace
