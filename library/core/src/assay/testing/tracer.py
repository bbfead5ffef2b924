"""The port suite of `assay.ports.tracer`."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import polars as pl
import pytest

from assay.domain.chunk import RECORDS, Chunk
from assay.domain.position import Range
from assay.domain.tally import Tally
from assay.ports.tracer import Trace, Tracer

SENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
"""The `traceparent` of a message that its sender traces."""


class Told(NamedTuple):
    """What is known of a chunk afterwards.

    Attributes:
        links: the traces of its records that it is linked to, each as a `traceparent`.
        steps: name, records and the kind of what was raised, in the order in which they ended.
        tally: it was committed with; None: it was given up.
    """

    links: set[str]
    steps: list[tuple[str, int, str | None]]
    tally: Mapping[str, int] | None


class TracerSuite:
    """What every tracer keeps; an adapter adds how to make one and how to read it."""

    @pytest.fixture
    def tracer(self) -> Tracer:
        """The tracer under test, which follows every chunk."""
        raise NotImplementedError

    def told(self, tracer: Tracer) -> Told:
        """What it has been told of the one chunk that has ended."""
        raise NotImplementedError

    def begin(self, tracer: Tracer, traced: Mapping[tuple[str, int], str] | None = None) -> Trace:
        """The trace of a chunk of no records."""
        records = pl.DataFrame(schema=RECORDS)
        chunk = Chunk((Range("0", 5, 9, 0),), records, traced=traced or {})
        return tracer.begin(chunk, run_id="run-1", source="kafka/topic", seconds=0.5)

    def test_a_chunk_is_followed_to_its_commit(self, tracer: Tracer) -> None:
        """Its steps, in whichever thread, and what it came to."""
        trace = self.begin(tracer)

        def classify() -> None:
            with trace.step("classify", 3):
                pass

        with trace.step("decode", 4):
            pass
        with ThreadPoolExecutor(1) as pool:
            pool.submit(classify).result()
        with trace.step("commit", 4):
            pass
        trace.end(Tally(read=4, classified=3, rejected=1))
        told = self.told(tracer)
        assert told.steps == [("decode", 4, None), ("classify", 3, None), ("commit", 4, None)]
        assert told.tally == {"classified": 3, "rejected": 1, "duplicate": 0}

    def test_a_failed_attempt_passes_on_what_it_raises(self, tracer: Tracer) -> None:
        """Its kind is noted, and never its message."""
        trace = self.begin(tracer)
        with pytest.raises(ValueError, match="a purchase"), trace.step("classify", 3):
            raise ValueError("a purchase")
        with trace.step("classify", 3):
            pass
        trace.end(None)
        told = self.told(tracer)
        assert told.steps == [("classify", 3, "ValueError"), ("classify", 3, None)]
        assert told.tally is None
        assert "a purchase" not in repr(told)

    def test_a_chunk_is_linked_to_the_traces_of_its_records(self, tracer: Tracer) -> None:
        """What makes no sense as one is no reason to fail."""
        trace = self.begin(tracer, {("0", 5): SENT, ("0", 6): "nonsense", ("0", 7): ""})
        trace.end(Tally())
        assert SENT in self.told(tracer).links
