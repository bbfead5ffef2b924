"""A pump over memory adapters, driven step by step, for tests of its behaviour."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from assay.domain.chunk import Chunk
from assay.domain.errors import Unavailable
from assay.domain.outcome import Outcome
from assay.domain.reject import faults
from assay.domain.tally import Tally
from assay.memory.classifier import MemoryClassifier
from assay.memory.clock import MemoryClock
from assay.memory.executor import SteppingExecutor
from assay.memory.meter import MemoryMeter
from assay.memory.source import MemorySource
from assay.memory.store import MemoryStore
from assay.pipeline.pace import Pace
from assay.pipeline.pump import Policy, Pump
from assay.pipeline.watch import Watch
from assay.ports.tracer import Tracer

_ENDED = object()


def decode(chunk: Chunk) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Records are `id;description`; one without a semicolon cannot be decoded."""
    records = chunk.records.with_row_index("row").with_columns(
        pl.col("raw").cast(pl.String).str.splitn(";", 2).struct.unnest()
    )
    good, bad = (
        records.filter(pl.col("field_1").is_not_null()),
        records.filter(pl.col("field_1").is_null()),
    )
    candidates = good.select(
        "row",
        transaction_id="field_0",
        description="field_1",
        amount=pl.lit("12.50"),
        currency=pl.lit("EUR"),
        timestamp=pl.lit("2024-01-02T10:11:12Z"),
        merchant=pl.lit(None, pl.String),
        operation_type=pl.lit("payment"),
        side=pl.lit("debit"),
        mcc=pl.lit(None, pl.String),
    )
    rejects = bad.select("row", code=pl.lit("no_semicolon"), message=pl.lit("no semicolon"))
    return candidates, faults(rejects, stage="decode")


@dataclass
class Plant:
    """A pump and all that it is composed of, driven step by step."""

    source: MemorySource
    store: MemoryStore = field(default_factory=MemoryStore)
    classifier: MemoryClassifier = field(default_factory=MemoryClassifier)
    clock: MemoryClock = field(default_factory=MemoryClock)
    executor: SteppingExecutor = field(default_factory=SteppingExecutor)
    meter: MemoryMeter = field(default_factory=MemoryMeter)
    run_id: str = "run-1"
    policy: Policy = field(default_factory=Policy)
    pace: Pace | None = None
    committed: Callable[[Outcome, Tally], None] = field(default=lambda _, __: None)
    away: Callable[[str, Unavailable | None], None] = field(default=lambda _, __: None)

    paced: Callable[[Pace], None] = field(default=lambda _: None)
    tracer: Tracer | None = None

    def __post_init__(self) -> None:
        self.clock.while_waiting = self.executor.step
        self.pump = Pump(
            run_id=self.run_id,
            source_name="logs",
            destination="memory:errors",
            source=self.source,
            decode=decode,
            classifier=self.classifier,
            store=self.store,
            executor=self.executor,
            clock=self.clock,
            watch=Watch(
                self.meter,
                self.clock,
                "test",
                committed=self.committed,
                away=self.away,
                paced=self.paced,
                tracer=self.tracer,
            ),
            policy=self.policy,
            pace=self.pace,
        )
        self.steps = self.pump.steps()

    @classmethod
    def of(
        cls, logs: Mapping[str, Sequence[bytes | None]], *, size: int = 3, **parts: Any
    ) -> "Plant":
        """A plant over finite logs, all of which it owns, in chunks of `size` records."""
        copied = {partition: list(log) for partition, log in logs.items()}
        return cls(MemorySource(copied, owned=set(copied), size=size), **parts)

    def step(self) -> bool:
        """One step of the pump; False once it has ended."""
        return next(self.steps, _ENDED) is None
