"""What a pump tells those who watch it: numbers for a meter, and events for its owner."""

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from assay.domain import metrics
from assay.domain.chunk import Chunk
from assay.domain.errors import Unavailable
from assay.domain.metrics import Metric
from assay.domain.outcome import Outcome
from assay.domain.tally import Tally
from assay.pipeline.breaker import Breaker
from assay.pipeline.inflight import Window
from assay.pipeline.pace import Pace
from assay.ports.clock import Clock
from assay.ports.meter import Meter
from assay.ports.tracer import Step, Trace, Tracer

_DOORS: Final = ("classified", "rejected", "duplicate")
_RESULTS: Final = {
    "classifier": ("ok", "unavailable", "refused"),
    "store": ("ok", "unavailable", "fenced"),
}


def _nobody(*_: object) -> None:
    pass


class Watch:
    """Counts under one pipeline's label, and calls back in the pump's own thread."""

    def __init__(
        self,
        meter: Meter,
        clock: Clock,
        pipeline: str,
        *,
        committed: Callable[[Outcome, Tally], None] = _nobody,
        away: Callable[[str, Unavailable | None], None] = _nobody,
        answered: Callable[[], None] = _nobody,
        paced: Callable[[Pace], None] = _nobody,
        tracer: Tracer | None = None,
    ) -> None:
        """Composes a watch.

        Args:
            meter: where the numbers go.
            clock: of the pump.
            pipeline: the label of its metrics.
            committed: told of each commit.
            away: told once when a dependency (`source`, `records`, `classifier`, `store`) counts as
                away, with its last error, and once when it is back, with None.
            answered: told of each call to a dependency that was answered, whatever the answer.
            paced: told once when the pump begins to take on less at a time, and once when it does
                no longer.
            tracer: follows each chunk; None: nobody does.
        """
        self._meter, self._clock, self._pipeline = meter, clock, pipeline
        self._tell_committed, self._tell_away, self._tell_answered = committed, away, answered
        self._tell_paced, self._is_lowered = paced, False
        self._tracer = tracer
        self._away: set[str] = set()
        # A counter that is there from the beginning shows its first increase, too.
        for door in _DOORS:
            meter.add(metrics.RECORDS, 0, pipeline=pipeline, door=door)
        for dependency, results in _RESULTS.items():
            for result in results:
                meter.add(
                    metrics.ATTEMPTS, 0, pipeline=pipeline, dependency=dependency, result=result
                )

    def took(self, chunk: Chunk, *, run_id: str, source: str, seconds: float) -> Trace | None:
        """A chunk was handed out; None where nobody follows it."""
        if self._tracer is None:
            return None
        return self._tracer.begin(chunk, run_id=run_id, source=source, seconds=seconds)

    def step(self, trace: Trace | None, name: Step, records: int) -> AbstractContextManager[None]:
        """One attempt at a step of a chunk, for as long as the block lasts. For any thread."""
        return nullcontext() if trace is None else trace.step(name, records)

    def attempt(self, dependency: str, result: str) -> None:
        """A call to a dependency has ended like this."""
        self._meter.add(
            metrics.ATTEMPTS, pipeline=self._pipeline, dependency=dependency, result=result
        )
        if result != "unavailable":
            self._tell_answered()

    @contextmanager
    def timed(self, metric: Metric) -> Generator[None]:
        """Observes how long the block took, unless it fails. For any thread."""
        began = self._clock.now()
        yield
        self._meter.observe(metric, self._clock.now() - began, pipeline=self._pipeline)

    def committed(self, outcome: Outcome, tally: Tally) -> None:
        """An outcome is committed."""
        for door in _DOORS:
            self._meter.add(
                metrics.RECORDS, getattr(tally, door), pipeline=self._pipeline, door=door
            )
        self._tell_committed(outcome, tally)

    def look(self, window: Window, breakers: Sequence[Breaker], pace: Pace) -> None:
        """Shows how the pump stands."""
        gauges = {
            metrics.WINDOW_CHUNKS: len(window),
            metrics.WINDOW_BYTES: window.size,
            metrics.CHUNK_RECORDS_LIMIT: pace.chunk_records,
            metrics.CALL_RECORDS_LIMIT: pace.call_records,
            metrics.CALLS_LIMIT: pace.calls,
            metrics.CALLS: sum(len(flight.calls) for flight in window),
        }
        for metric, value in gauges.items():
            self._meter.set(metric, value, pipeline=self._pipeline)
        if pace.is_lowered != self._is_lowered:
            self._is_lowered = pace.is_lowered
            self._tell_paced(pace)
        now = self._clock.now()
        for each in breakers:
            is_open = each.is_open(now)
            self._meter.set(
                metrics.BREAKER_OPEN, is_open, pipeline=self._pipeline, dependency=each.name
            )
            if is_open and each.name not in self._away:
                self._away.add(each.name)
                self._tell_away(each.name, each.last_error)
            elif each.name in self._away and not is_open:
                self._away.remove(each.name)
                self._tell_away(each.name, None)
