"""The window: chunks that were read and are not committed yet, in the order read."""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeAlias

import polars as pl

from assay.domain.chunk import Chunk, Decoded, Originals, as_they_are
from assay.domain.identity import content_hash
from assay.domain.outcome import CLASSIFIED, Outcome
from assay.domain.position import Partition, Range
from assay.domain.reject import REJECTS
from assay.domain.tally import Tally
from assay.domain.transaction import split
from assay.pipeline.bisect import Ask, Step
from assay.ports.tracer import Trace

Decode: TypeAlias = Callable[[Chunk], tuple[pl.DataFrame, pl.DataFrame] | Decoded]
"""Reads a chunk's records; of a pair, the candidates and the rejects."""


class Prepared(NamedTuple):
    """A chunk's transactions, their content hashes, and those of its records that are none.

    Transactions are in the order of their ids, those of the same id in the order read. The rest is
    as in `Decoded`.
    """

    transactions: pl.DataFrame
    hashes: pl.Series
    rejects: pl.DataFrame
    predictions: pl.DataFrame | None = None
    originals: Originals = as_they_are


def prepare(chunk: Chunk, decode: Decode) -> Prepared:
    """Decodes and validates a chunk: pure work, for a worker.

    Raises:
        AssertionError: a step lost or doubled a row, which is a defect of that step.
    """
    made = decode(chunk)
    decoded = made if isinstance(made, Decoded) else Decoded(*made)
    transactions, invalid = split(decoded.candidates)
    rejects = pl.concat([decoded.rejects, invalid])
    rows = pl.concat([transactions["row"], rejects["row"]])
    if rows.len() != chunk.records.height or rows.n_unique() != rows.len():
        raise AssertionError("decoding lost or doubled a record")
    # Stores write in this order; here it is made while they are busy with the chunk before.
    transactions = transactions.sort("transaction_id", maintain_order=True)
    predictions = decoded.predictions
    if predictions is not None:
        predictions = predictions.join(transactions, on="row", how="semi")
    return Prepared(
        transactions, content_hash(transactions), rejects, predictions, decoded.originals
    )


@dataclass
class Door:
    """The records of a chunk that are known to leave by one door, and how many of each partition.

    They are counted as they come, since a call that is bisected brings thousands of frames.
    """

    frames: list[pl.DataFrame] = field(default_factory=list[pl.DataFrame])
    counts: Counter[Partition] = field(default_factory=Counter[Partition])

    def add(self, rows: pl.DataFrame, chunk: Chunk) -> None:
        """More of them, each with its `row` in the chunk."""
        self.frames.append(rows)
        if rows.height:
            of = chunk.records["partition"].gather(rows["row"])
            self.counts.update(dict(of.value_counts().iter_rows()))


@dataclass
class Flight:
    """One chunk in the window, and how far it has come.

    Attributes:
        asks: what the classifier is still to be asked, the next one last.
        calls: what it is asked just now, by the job.
        classified, rejects: what is known so far.
        job: that decodes it just now.
        outcome: it sorted by doors, once every record has found its own; what has left since is
            still in it.
        gone: partitions that have left it.
        asked_at, answered_at: when the classifier was first asked, and last answered.
        trace: follows it; None where nobody does.
        is_smooth: whether each call was answered for good; else the time in between is no matter
            of how many records there are.
    """

    chunk: Chunk
    size: int
    job: Future[Any] | None = None
    prepared: Prepared | None = None
    asks: list[Ask] = field(default_factory=list[Ask])
    calls: dict[Future[Any], Ask] = field(default_factory=dict[Future[Any], Ask])
    classified: Door = field(default_factory=Door)
    rejects: Door = field(default_factory=Door)
    outcome: Outcome | None = None
    gone: set[Partition] = field(default_factory=set[Partition])
    asked_at: float | None = None
    answered_at: float | None = None
    trace: Trace | None = None
    is_smooth: bool = True

    @property
    def is_ready(self) -> bool:
        """Whether every record has found its door."""
        return self.prepared is not None and not (self.asks or self.calls)

    @property
    def seconds(self) -> float:
        """How long the classifier took for it; 0 where that tells nothing of its size."""
        if self.asked_at is None or self.answered_at is None or not self.is_smooth:
            return 0.0
        return self.answered_at - self.asked_at

    @property
    def jobs(self) -> list[Future[Any]]:
        """What workers are doing for it."""
        return [*self.calls, *([self.job] if self.job is not None else [])]

    @property
    def ranges(self) -> tuple[Range, ...]:
        """The ranges that are still in it."""
        return tuple(each for each in self.chunk.ranges if each.partition not in self.gone)

    def is_prepared(self, prepared: Prepared) -> None:
        """Its records are decoded; what passed and has no prediction is to be asked about."""
        self.prepared = prepared
        self.rejects.add(prepared.rejects, self.chunk)
        if prepared.predictions is not None:
            self.classified.add(prepared.predictions, self.chunk)
        elif prepared.transactions.height:
            self.asks.append(Ask(prepared.transactions))

    def next_ask(self, now: float, share: Callable[[int, int], int]) -> Ask | None:
        """What the classifier is to be asked next, taken out; None where it is not time yet.

        Args:
            now: the time.
            share: of so many records, in a chunk of so many, how many are asked at once.
        """
        at = next(
            (at for at in reversed(range(len(self.asks))) if self.asks[at].not_before <= now), None
        )
        if at is None or self.prepared is None:
            return None
        ask = self.asks.pop(at)
        rows = ask.transactions
        part = share(rows.height, self.prepared.transactions.height)
        if part < rows.height:
            self.asks.insert(at, replace(ask, transactions=rows[part:]))
            ask = replace(ask, transactions=rows[:part])
        return ask

    def has_learnt(self, step: Step) -> None:
        """An answer came in."""
        self.classified.add(step.classified, self.chunk)
        self.rejects.add(step.rejects, self.chunk)
        self.asks.extend(reversed(step.again))

    def ends(self, tally: Tally | None) -> None:
        """It is committed, or given up: who follows it is told."""
        if self.trace is not None:
            self.trace.end(tally)

    def found(self, partition: Partition | None = None) -> Tally:
        """How many of its records, or of one partition of them, have found a door so far."""
        left = [each.partition for each in self.ranges if partition in {None, each.partition}]
        classified, rejected = (
            sum(door.counts[each] for each in left) for door in (self.classified, self.rejects)
        )
        return Tally(read=classified + rejected, classified=classified, rejected=rejected)

    @property
    def originals(self) -> Originals:
        """Finds what stands for its records in dead letters."""
        return as_they_are if self.prepared is None else self.prepared.originals

    def sorted_by_door(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Its classified records and its rejects as in an `Outcome`, whatever has left."""
        if self.prepared is None:
            raise AssertionError("asked for doors before the records were decoded")
        predictions = pl.concat(self.classified.frames) if self.classified.frames else None
        rejects = pl.concat(self.rejects.frames).cast(REJECTS).sort("row")
        transactions = self.prepared.transactions.with_columns(content_hash=self.prepared.hashes)
        if predictions is None:
            return pl.DataFrame(schema=CLASSIFIED), rejects
        classified = transactions.join(predictions, on="row", how="inner", maintain_order="left")
        return classified.select(CLASSIFIED.names()).cast(CLASSIFIED), rejects


class Window:
    """The flights in the order read, bounded in chunks and in bytes."""

    def __init__(self, chunks: int, size: int) -> None:
        self._limits = (chunks, size)
        self._flights: deque[Flight] = deque()

    def __iter__(self) -> Iterator[Flight]:
        return iter(self._flights)

    def __len__(self) -> int:
        return len(self._flights)

    @property
    def size(self) -> int:
        """Bytes of the records in it."""
        return sum(flight.size for flight in self._flights)

    @property
    def is_full(self) -> bool:
        """Whether nothing more is to be read for now: the back-pressure."""
        chunks, size = self._limits
        return len(self) >= chunks or self.size >= size

    @property
    def head(self) -> Flight | None:
        """The flight that is committed next."""
        return self._flights[0] if self._flights else None

    def append(self, chunk: Chunk) -> Flight:
        """Takes in a chunk."""
        flight = Flight(chunk, chunk.bytes)
        self._flights.append(flight)
        return flight

    def pop(self) -> None:
        """The head is committed, or nothing of it is left."""
        self._flights.popleft()

    def holds(self, partitions: Collection[Partition]) -> bool:
        """Whether a range of any of these is in it."""
        return any(each.partition in partitions for flight in self for each in flight.ranges)

    def leave(self, partitions: Collection[Partition]) -> None:
        """These partitions' ranges leave every chunk; what a worker is doing is ignored later."""
        for flight in self._flights:
            flight.gone.update(partitions)

    def jobs(self) -> list[Future[Any]]:
        """What workers are doing."""
        return [job for flight in self._flights for job in flight.jobs]
