"""Claimed dead letters as a source: a redrive is the partition, a letter's number its position."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, TypeAlias

import polars as pl

from assay.contract.contract import NO_EDITS, Contract
from assay.domain.chunk import RECORDS, Chunk, Idle, Revoked
from assay.domain.errors import Fatal, Unavailable, Unreadable
from assay.domain.position import TOPICS, Partition, Position, Positions, Range
from assay.domain.reject import REJECTS
from assay.domain.rules import COLUMNS
from assay.domain.transaction import TRANSACTIONS
from assay.domain.wording import counted
from assay.pipeline.files import decode as decode_file
from assay.ports.clock import Clock
from assay.ports.selection import Selection
from assay.ports.source import AskPositions, Drain, no_drain
from assay.wire.framed import Unframe, no_registry
from assay.wire.messages import decode as decode_messages

Decoded: TypeAlias = tuple[pl.DataFrame, pl.DataFrame]
"""Candidates (`row` and the canonical columns), and the others, shaped as `REJECTS`."""

_FILES: Final = "files/"
_TICK: Final = 0.1  # seconds
_RENEWED: Final = 30.0  # seconds, a small part of a lease
_GONE: Final = "the whole record is no longer at hand"
_HEADLESS: Final = "the header of its file is no longer at hand"


@dataclass(frozen=True)
class LetterChunk(Chunk):
    """Letters on their way through once more.

    Attributes:
        letters: those that its records are of, row by row, shaped as `LETTERS`.
    """

    letters: pl.DataFrame = field(kw_only=True)


class LetterSource:
    """Hands out the letters of a claim in the order of their numbers, and keeps the claim.

    Its one partition is named as the run, and its last range says `finished`. The claim is renewed
    while the loop goes on, however long the rest of it waits.
    """

    def __init__(
        self,
        selection: Selection,
        run_id: Partition,
        letters: int,
        clock: Clock,
        *,
        chunk_records: int = 10_000,
        rate: float | None = None,
    ) -> None:
        """Composes a source.

        Args:
            selection: claimed already.
            run_id: of the run that has claimed it.
            letters: how many there are in it.
            clock: monotonic.
            chunk_records: records in a chunk, at most.
            rate: records that are handed out in a second, at most, over any longer time; None:
                as many as are taken.
        """
        self._selection, self._run_id, self._letters, self._clock = (
            selection,
            run_id,
            letters,
            clock,
        )
        self._rate = rate
        # Of an infinite rate there is no whole number.
        self._chunk_records = int(min(chunk_records, max(rate or chunk_records, 1)))
        self._at: Position | None = None  # None: the store is to be asked
        self._handed: Position | None = None
        self._paused = False
        self._renewed = self._next = clock.now()

    def events(
        self,
        positions: AskPositions,
        drain: Drain = no_drain,  # noqa: ARG002 - letters are never taken away
    ) -> Iterator[Chunk | Revoked | Idle]:
        """What happens, one event at a time, until every letter is handed out and acked.

        Raises:
            Unavailable: where the letters are is away.
            Fenced: the claim is lost.
        """
        while True:
            self._keep_claim()
            if self._paused:
                yield Idle()
            elif self._at is None:
                if not self._ask(positions):
                    yield Idle()
            elif self._at.end is not None:
                if self._handed is None:
                    return
                yield Idle()
            elif (early := self._next - self._clock.now()) > 0:
                self._clock.wait((), min(early, _TICK))
                yield Idle()
            else:
                yield self._chunk(self._at.next)

    def pause(self, on: bool) -> None:  # noqa: FBT001 - as the port has it
        """Hands out no chunk while on."""
        self._paused = on

    def rewind(self, partitions: Collection[Partition]) -> None:
        """Starts again from where the store stands."""
        if self._run_id in partitions:
            self._at = self._handed = None

    def ack(self, positions: Positions) -> None:
        """These are committed."""
        if positions.get(self._run_id) == self._handed:
            self._handed = None

    def _keep_claim(self) -> None:
        if (now := self._clock.now()) - self._renewed >= _RENEWED:
            self._selection.renew()
            self._renewed = now

    def _ask(self, positions: AskPositions) -> bool:
        try:
            found = positions([self._run_id]).get(self._run_id, Position(0))
        except Unavailable:
            return False
        is_over = found.end == "finished" or found.next >= self._letters
        self._at = Position(found.next, "finished" if is_over else None)
        return True

    def _chunk(self, first: int) -> LetterChunk:
        letters = self._selection.page(first, self._chunk_records)
        after = first + letters.height
        end = "finished" if after == self._letters else None
        if self._rate is not None:
            self._next = max(self._next, self._clock.now() - 1) + letters.height / self._rate
        self._at = self._handed = Position(after, end)
        return chunk_of(letters, self._run_id, first, finished=end is not None)


def chunk_of(
    letters: pl.DataFrame, run_id: Partition, first: int, *, finished: bool
) -> LetterChunk:
    """Letters as a chunk of a redrive.

    Args:
        letters: shaped as `LETTERS`.
        run_id: of the redrive.
        first: the number of the first one in its selection.
        finished: whether these are its last.
    """
    after = first + letters.height
    covered = Range(run_id, first, after, letters.height, "finished" if finished else None)
    numbered = letters.with_columns(
        partition=pl.lit(run_id),
        position=pl.int_range(first, after, dtype=pl.Int64),
    )
    return LetterChunk((covered,), _records(numbered), letters=letters)


def _records(letters: pl.DataFrame) -> pl.DataFrame:
    # Nobody has counted them again: where an id is derived, the letter has kept it.
    return letters.select(
        pl.col(name) if name in letters.columns else pl.lit(None, dtype).alias(name)
        for name, dtype in RECORDS.items()
    )


def _nothing(source: str, partition: Partition, position: int) -> None:
    del source, partition, position


@dataclass(frozen=True)
class Reading:
    """How letters are read that come from different sources.

    Records of streams (source `kafka/<topic>`) are messages, see `assay.wire.messages`.

    Attributes:
        contracts: for records of files (source `files/<contract id>`), by the contracts' ids.
        edits: what stands in some canonical columns of every record, in the canonical writing,
            whatever it says itself.
        whole: the whole bytes of a record by source, partition and position, where a letter holds
            its head only; None where they are no longer to be had.
        unframe: finds the objects of messages that are written for a schema registry.
    """

    contracts: Mapping[str, Contract] = field(default_factory=dict[str, Contract])
    edits: Mapping[str, str] = field(default_factory=lambda: NO_EDITS)
    whole: Callable[[str, Partition, int], bytes | None] = _nothing
    unframe: Unframe = no_registry

    def __post_init__(self) -> None:
        if unknown := sorted(self.edits.keys() - set(COLUMNS)):
            raise Fatal(
                f"no column can be edited that is not one of {', '.join(COLUMNS)}: "
                f"{', '.join(unknown)}"
            )

    def require(self, letters: Mapping[str, int]) -> None:
        """Returns if letters of all these sources can be read.

        Args:
            letters: how many there are of each source.

        Raises:
            Fatal: names the sources of which a contract is missing, and those that can be read.
        """
        lacking = {
            source: number for source, number in sorted(letters.items()) if not self._reads(source)
        }
        if lacking:
            others = {k: v for k, v in sorted(letters.items()) if k not in lacking}
            rest = f" (chosen beside them: {_each(others)})" if others else ""
            files = any(source.startswith(_FILES) for source in lacking)
            advice = "name their contracts with --contract FILE, or " if files else ""
            raise Fatal(
                f"nothing says how records of {_each(lacking)} are written: {advice}choose "
                f"others with --source{rest}; nothing was claimed"
            )

    def _reads(self, source: str) -> bool:
        if source.startswith(_FILES):
            return source.removeprefix(_FILES) in self.contracts
        return source.startswith(TOPICS)


def _each(letters: Mapping[str, int]) -> str:
    return ", ".join(
        f"{source} ({counted(number, 'letter', 'letters')})" for source, number in letters.items()
    )


def decode(chunk: Chunk, reading: Reading) -> Decoded:
    """Sorts the records of letters into candidates and rejects, each as its source has it.

    Where a contract derives ids, a record keeps the one that its letter has. A record of which
    the letter holds the head only, and whose rest is gone, stays rejected as it was.

    Raises:
        Unreadable: the header of a file does not fit the contract that was given for it.
    """
    if not isinstance(chunk, LetterChunk):
        raise TypeError("only letters are decoded like this")
    letters = _made_whole(chunk.letters.with_row_index("row"), reading)
    is_kept = pl.col("kept").is_not_null()
    parts = [_as_they_were(letters.filter(is_kept))]
    rest = letters.filter(~is_kept)
    for (source,), same in rest.group_by("source", maintain_order=True):
        parts.append(_of_source(str(source), same, reading))
    goods = [good for good, _ in parts]
    if len({tuple(each.schema.items()) for each in goods if each.height}) > 1:
        goods = [_as_text(each) for each in goods]
    goods = [each for each in goods if each.height] or [pl.DataFrame(schema=TRANSACTIONS)]
    return pl.concat(goods), pl.concat(bad for _, bad in parts)


def _made_whole(letters: pl.DataFrame, reading: Reading) -> pl.DataFrame:
    """The same with `kept`: why a letter cannot be tried again, else null."""
    is_headless = pl.col("source").str.starts_with(_FILES) & pl.col("header").is_null()
    letters = letters.with_columns(kept=pl.when(is_headless).then(pl.lit(_HEADLESS)))
    is_cut = letters["sha256"].is_not_null()
    if not is_cut.any():
        return letters
    raw, kept = letters["raw"].to_list(), letters["kept"].to_list()
    cut = letters.filter(is_cut).select("row", "source", "partition", "position", "sha256")
    for row, source, partition, position, digest in cut.iter_rows():
        found = reading.whole(source, partition, position)
        if found is not None and sha256(found).digest() == digest:
            raw[row] = found
        else:
            kept[row] = kept[row] or _GONE
    return letters.with_columns(
        pl.Series("raw", raw, pl.Binary), pl.Series("kept", kept, pl.String)
    )


def _as_they_were(letters: pl.DataFrame) -> Decoded:
    rejects = letters.with_columns(message=pl.col("kept")).select(REJECTS.names()).cast(REJECTS)
    return pl.DataFrame(schema=TRANSACTIONS), rejects


def _of_source(source: str, letters: pl.DataFrame, reading: Reading) -> Decoded:
    """Decodes records of one source as a chunk of that source."""
    chunk = _as_read(letters)
    if source.startswith(_FILES):
        contract = reading.contracts[source.removeprefix(_FILES)]
        try:
            found = decode_file(chunk, contract, reading.edits)
        except Unreadable as error:
            raise Unreadable(f"a letter of {source} does not fit its contract: {error}") from error
        if contract.derives_id and "transaction_id" not in reading.edits:
            ids = letters["transaction_id"]
            found = tuple(
                each.with_columns(ids.gather(each["row"]).alias("transaction_id")) for each in found
            )
    else:
        found = decode_messages(chunk, reading.edits, reading.unframe)
    good, bad = (each.with_columns(letters["row"].gather(each["row"])) for each in found)
    return good, bad


def _as_read(letters: pl.DataFrame) -> Chunk:
    """A chunk in which letters of one source can be decoded as if they were read from there.

    A partition of it stands for those with the same header. Origins would not do: a letter and one
    that was imported may have the same.
    """
    headers = letters.select("header").unique(maintain_order=True)
    named = headers.with_row_index("of").with_columns(pl.col("of").cast(pl.String))
    records = letters.with_row_index("at").join(
        named, on="header", how="left", nulls_equal=True, maintain_order="left"
    )
    records = _records(
        records.with_columns(partition=pl.col("of"), position=pl.col("at").cast(pl.Int64))
    )
    covered = records.group_by("partition", maintain_order=True).agg(
        pl.col("position").min().alias("first"),
        pl.col("position").max().alias("last"),
        pl.len().alias("read"),
    )
    ranges = tuple(Range(of, first, last + 1, read) for of, first, last, read in covered.rows())
    known = named.filter(pl.col("header").is_not_null())
    return Chunk(ranges, records, dict(known.select("of", "header").iter_rows()))


def _as_text(candidates: pl.DataFrame) -> pl.DataFrame:
    """Candidates whose columns are all in the canonical writing."""
    time = candidates.schema["timestamp"]
    written = pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
    texts = [pl.col(each).cast(pl.String) for each in COLUMNS if each != "timestamp"]
    return candidates.with_columns(*texts, *([] if time == pl.String else [written]))
