"""Files as a source: each file is a partition, each record's number its position."""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

import polars as pl

from assay.contract.contract import NO_EDITS, Contract
from assay.domain.chunk import RECORDS, Chunk, Idle, Revoked
from assay.domain.errors import AssayError, Renumbered, Replaced, Unavailable, Unreadable
from assay.domain.identity import derived_ids
from assay.domain.occurrence import Occurrences
from assay.domain.position import End, Partition, Position, Positions, Range
from assay.domain.reject import REJECTS
from assay.domain.transaction import TRANSACTIONS
from assay.ports.objects import Object, Objects
from assay.ports.source import AskPositions, Drain, no_drain
from assay.wire.csv import cells, dialect_of, header_cells, keys
from assay.wire.splitter import Splitter

Decompress: TypeAlias = Callable[[str, Iterator[bytes]], Iterator[bytes]]
"""The plain bytes of a file, by its name and its bytes as they are stored."""

_BEGINNING: Final = Position(0)
_CHUNK_BYTES: Final = 8 << 20


class FileSource:
    """Reads files one after another, in bounded memory, each record once per commit.

    A chunk holds records of one file. A file that was read in part before is read from its
    beginning, since the numbers of equal records and the place of the next record follow from what
    stands before it, but only what was not committed is handed out. The last range of a file says
    `finished`, or `abandoned` where the file was replaced while it was read. A file that was read
    in part by another dialect is left alone, since its records have other numbers now.

    Attributes:
        failed: files that could not be read to their end, and why; what was read of them before
            is handed out all the same.
        bytes_read: of the files as they are stored, so far.
    """

    def __init__(
        self,
        objects: Objects,
        items: Sequence[Object],
        contract: Contract,
        decompress: Decompress,
        *,
        chunk_records: int | Callable[[], int] = 50_000,
        limit: int | None = None,
    ) -> None:
        """Composes a source.

        Args:
            objects: where the files are.
            items: the files, in the order in which they are to be read.
            contract: how their records are written.
            decompress: by the file's name.
            chunk_records: records in a chunk, at most, or who says so before each; fewer where
                they are longer than 8 MiB together.
            limit: records that are handed out in all, at most; a file that it cuts stays open.
        """
        self._objects, self._contract, self._decompress = objects, contract, decompress
        self._chunk_records, self._left = chunk_records, limit
        self._items = {each.partition: each for each in items}
        self._waiting = deque(self._items)
        self._known: dict[Partition, Position] = {}
        self._handed: dict[Partition, Position] = {}
        self._reading: tuple[Partition, Iterator[Chunk]] | None = None
        self._at = _BEGINNING  # after the last chunk of the file that is being read
        self._paused = False
        self.failed: dict[Partition, AssayError] = {}
        self.bytes_read = 0

    def events(
        self,
        positions: AskPositions,
        drain: Drain = no_drain,  # noqa: ARG002 - files are never taken away
    ) -> Iterator[Chunk | Revoked | Idle]:
        """What happens, one event at a time, until every file is handed out and acked."""
        while True:
            if self._paused:
                yield Idle()
            elif self._reading is not None:
                partition, chunks = self._reading
                try:
                    chunk = next(chunks, None)
                except Unavailable:
                    self._reading = None
                    self._waiting.appendleft(partition)
                    self._known[partition] = self._at
                    raise
                if chunk is not None and self._left is not None:
                    chunk = self._cut(chunk, self._left)
                if chunk is None:
                    self._reading = None
                else:
                    self._at = self._handed[partition] = chunk.ranges[0].position
                    yield chunk
            elif self._waiting:
                if not self._begin(positions):
                    yield Idle()
            elif self._handed:
                yield Idle()
            else:
                return

    def pause(self, on: bool) -> None:  # noqa: FBT001 - as the port has it
        """Hands out no chunk while on."""
        self._paused = on

    def rewind(self, partitions: Collection[Partition]) -> None:
        """Starts these again from where the store stands, before any other file."""
        for each in self._items.keys() & partitions:
            self._known.pop(each, None)
            self._handed.pop(each, None)
            if self._reading is not None and self._reading[0] == each:
                self._reading = None
            if each not in self._waiting:
                self._waiting.appendleft(each)

    def ack(self, positions: Positions) -> None:
        """These are committed."""
        for partition, position in positions.items():
            if self._handed.get(partition) == position:
                del self._handed[partition]

    def _cut(self, chunk: Chunk, left: int) -> Chunk | None:
        """What the limit leaves of a chunk; once it is reached nothing more is handed out."""
        self._left = max(0, left - chunk.records.height)
        if self._left:
            return chunk
        self._waiting.clear()
        self._reading = None
        if not left:
            return None
        if chunk.records.height > left:
            rest = replace(chunk.ranges[0], next=chunk.ranges[0].first + left, read=left, end=None)
            chunk = replace(chunk, ranges=(rest,), records=chunk.records[:left])
        return replace(chunk, is_last=True)

    def _begin(self, positions: AskPositions) -> bool:
        """Takes up the next file that waits; False while its position is not to be had."""
        unknown = [each for each in self._waiting if each not in self._known]
        if self._waiting[0] in unknown:
            try:
                found = positions(unknown)
            except Unavailable:
                return False
            self._known.update({each: found.get(each, _BEGINNING) for each in unknown})
        partition = self._waiting.popleft()
        position = self._known.pop(partition)
        self._at = position
        if position.end == "finished":
            return True
        numbering = self._contract.dialect.numbering
        if position.next and position.numbering not in {None, numbering}:
            self.failed[partition] = Renumbered(
                f"it was read up to record {position.next:,} with {position.numbering}, and by "
                f"what the contract says now ({numbering}) other records have these numbers. Put "
                "the contract back to finish it, or deliver it under another name to read it anew: "
                "what is known already is a duplicate then"
            )
            return True
        self._reading = partition, self._chunks(self._items[partition], position.next)
        return True

    def _chunks(self, item: Object, start: int) -> Iterator[Chunk]:
        """The chunks of one file from a record on."""
        at, end, header = start, None, b""
        held = pl.DataFrame(schema=RECORDS)
        try:
            for found, header in self._records(item):
                held = pl.concat([held, found.filter(pl.col("position") >= start)])
                while full := self._full(held):
                    yield self._chunk(item, at, held[:full], header)
                    at, held = at + full, held[full:]
            end = "finished"
        except Replaced as error:
            end = "abandoned"
            self.failed[item.partition] = error
        except Unreadable as error:
            self.failed[item.partition] = error
        # Of what is gone before anything was read there is nothing to be abandoned.
        if held.height or end == "finished":
            yield self._chunk(item, at, held, header, end)

    def _full(self, held: pl.DataFrame) -> int:
        """How many of these records fill a chunk; 0 where one has room for more than these."""
        most = self._chunk_records
        ends = held["raw"].head(most() if callable(most) else most).bin.size().cum_sum()
        fitting = int((ends <= _CHUNK_BYTES).sum())
        return max(fitting, 1) if fitting < held.height else 0

    def _records(self, item: Object) -> Iterator[tuple[pl.DataFrame, bytes]]:
        """The records of a file, block by block, shaped as `RECORDS`, each with the header."""
        splitter = Splitter(self._contract.dialect)
        numbers = Occurrences() if self._contract.derives_id else None
        position = 0
        checked = False
        blocks = self._decompress(item.uri, self._counted(self._objects.read(item)))
        for frame in _split(splitter, blocks):
            if splitter.header is None:
                continue
            if not checked:
                self._contract.layout(header_cells(splitter.header, self._contract.dialect))
                checked = True
            counted = pl.int_range(position, position + frame.height, dtype=pl.Int64)
            occurrence = None
            if numbers is not None:
                dialect = dialect_of(splitter.header, self._contract.dialect)
                occurrence = numbers.number(keys(frame["raw"], dialect))
            complete = frame.select(
                pl.lit(item.partition).alias("partition"),
                counted.alias("position"),
                pl.lit(None, pl.Binary).alias("key"),
                "raw",
                "length",
                "sha256",
                (pl.lit(None, pl.UInt32) if occurrence is None else occurrence).alias("occurrence"),
                "fault",
            )
            position += frame.height
            yield complete, splitter.header

    def _chunk(
        self, item: Object, first: int, records: pl.DataFrame, header: bytes, end: End | None = None
    ) -> Chunk:
        read, numbering = records.height, self._contract.dialect.numbering
        covered = Range(item.partition, first, first + read, read, end, numbering)
        return Chunk((covered,), records, {item.partition: header})

    def _counted(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self.bytes_read += len(block)
            yield block


def _split(splitter: Splitter, blocks: Iterator[bytes]) -> Iterator[pl.DataFrame]:
    for block in blocks:
        yield splitter.feed(block)
    yield splitter.close()


def decode(
    chunk: Chunk, contract: Contract, edits: Mapping[str, str] = NO_EDITS
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sorts a chunk's records into candidates and rejects, as the contract reads them.

    Args:
        chunk: records of files, with the header of each.
        contract: how they are written.
        edits: see `Contract.convert`.

    Returns:
        The candidates (`row` and the canonical columns), and the others, shaped as `REJECTS`; a
        reject has the id that the record has or, where ids are derived, would have had.
    """
    if chunk.records.is_empty():
        return pl.DataFrame(schema=TRANSACTIONS), pl.DataFrame(schema=REJECTS)
    records = chunk.records.with_row_index("row")
    by_header: dict[bytes, list[Partition]] = {}
    for partition in chunk.partitions:
        by_header.setdefault(chunk.headers[partition], []).append(partition)
    parts = [
        _decode(records.filter(pl.col("partition").is_in(same)), header, contract, edits)
        for header, same in by_header.items()
    ]
    return pl.concat([good for good, _ in parts]), pl.concat([bad for _, bad in parts])


def _decode(
    records: pl.DataFrame, header: bytes, contract: Contract, edits: Mapping[str, str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    names = header_cells(header, contract.dialect)
    found, malformed = cells(records, len(names), dialect_of(header, contract.dialect))
    numbered = found.join(
        records.select("row", "occurrence"), on="row", how="left", maintain_order="left"
    )
    candidates, odd = contract.convert(numbered, contract.layout(names), edits)
    if contract.derives_id and malformed.height:
        written = malformed.select("row").join(
            records.select("row", "occurrence", pl.col("raw").bin.encode("hex")),
            on="row",
            how="left",
            maintain_order="left",
        )
        ids = derived_ids(contract.id, written.drop("row"))
        malformed = malformed.with_columns(ids)
    return candidates, pl.concat([malformed, odd])
