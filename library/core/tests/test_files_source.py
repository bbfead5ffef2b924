"""Files as a source, over objects in memory."""

import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assay.contract.contract import Contract
from assay.contract.document import parse
from assay.domain.chunk import Chunk
from assay.domain.errors import Renumbered, Replaced, Unavailable, Unreadable
from assay.domain.position import Partition, Position, Positions
from assay.domain.transaction import split
from assay.memory.objects import MemoryObjects
from assay.pipeline.files import Decompress, FileSource, decode
from assay.ports.source import Source
from assay.testing.source import MakeSource, SourceSuite

_DEFAULT = "customProperties: [{property: default, value: %s}]"
_CONTRACT = f"""
apiVersion: v3.1.0
kind: DataContract
id: purchases
version: 1.0.0
status: active
servers:
  - server: inbox
    type: local
    path: ./in
    format: csv
    delimiter: ";"
    customProperties: [{{property: fallbackEncodings, value: [cp1252]}}]
schema:
  - name: purchases
    properties:
      - {{name: transaction_id, logicalType: string, required: true, @ID}}
      - {{name: description, logicalType: string, required: true}}
      - {{name: amount, logicalType: number}}
      - {{name: currency, logicalType: string, {_DEFAULT % "EUR"}}}
      - name: timestamp
        logicalType: timestamp
        logicalTypeOptions: {{format: ISO_OFFSET_DATE_TIME}}
      - {{name: operation_type, logicalType: string, {_DEFAULT % "payment"}}}
      - {{name: side, logicalType: string, {_DEFAULT % "debit"}}}
"""
WITH_IDS = parse(_CONTRACT.replace("@ID", "physicalName: id"), "with ids")
DERIVED = parse(
    _CONTRACT.replace("@ID", "customProperties: [{property: derivation, value: {from: content}}]"),
    "derived",
)
ROOT = "memory://bucket/in/"
HEAD = b"id;description;amount;timestamp\n"
NO_ID = b"description;amount;timestamp\n"
REST = b";1.00;2024-01-02T10:11:12Z"


def rows(*descriptions: bytes) -> bytes:
    """A file without ids, in which each of these is bought once."""
    return NO_ID + b"".join(each + REST + b"\n" for each in descriptions)


def nowhere(_: Sequence[Partition]) -> Positions:
    return {}


def plain(_: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
    return blocks


def source_of(
    files: Mapping[str, bytes],
    contract: Contract = WITH_IDS,
    *,
    objects: MemoryObjects | None = None,
    decompress: Decompress = plain,
    size: int = 3,
    limit: int | None = None,
) -> FileSource:
    objects = objects or MemoryObjects()
    items = [objects.write(ROOT + name, body) for name, body in files.items()]
    return FileSource(objects, items, contract, decompress, chunk_records=size, limit=limit)


def drain(source: Source, stand: Mapping[Partition, Position] | None = None) -> list[Chunk]:
    chunks: list[Chunk] = []
    for event in source.events(lambda _: stand or {}):
        if isinstance(event, Chunk):
            chunks.append(event)
            source.ack({each.partition: each.position for each in event.ranges})
    return chunks


def ids(chunks: Sequence[Chunk], contract: Contract) -> list[str]:
    found: list[str] = []
    for chunk in chunks:
        candidates, rejects = decode(chunk, contract)
        rows = pl.concat([each.select("row", "transaction_id") for each in (candidates, rejects)])
        found += rows.sort("row")["transaction_id"].to_list()
    return found


class TestFileSource(SourceSuite):
    @pytest.fixture
    def make_source(self) -> MakeSource:
        def make(logs: Mapping[str, Sequence[bytes]]) -> tuple[Source, dict[str, Partition]]:
            objects = MemoryObjects()
            names = {
                name: objects.write(ROOT + name, HEAD + b"\n".join(log))
                for name, log in logs.items()
            }
            source = FileSource(objects, list(names.values()), WITH_IDS, plain, chunk_records=2)
            return source, {name: item.partition for name, item in names.items()}

        return make


def test_the_last_range_says_that_a_file_is_finished() -> None:
    """Also where the file ends with a chunk, or has no records at all."""
    files = {
        "six.csv": HEAD + b"a;b\n" * 6,
        "none.csv": HEAD,
        "void.csv": b"",
    }
    chunks = drain(source_of(files))
    ends = [(each.ranges[0].first, each.ranges[0].next, each.ranges[0].end) for each in chunks]
    assert ends[-2:] == [(0, 0, "finished"), (0, 0, "finished")]
    assert ends[-3][1:] == (6, "finished")
    assert [end for *_, end in ends[:-3]] == [None] * (len(ends) - 3)


def test_who_says_how_many_fill_a_chunk_is_asked_before_each() -> None:
    """Also in the middle of a file."""
    most = [2]
    objects = MemoryObjects()
    items = [objects.write(f"{ROOT}a.csv", HEAD + b"a;b\n" * 10)]
    source = FileSource(objects, items, WITH_IDS, plain, chunk_records=lambda: most[0])
    read: list[int] = []
    for event in source.events(lambda _: {}):
        if isinstance(event, Chunk):
            read.append(event.records.height)
            most[0] = 5
            source.ack({each.partition: each.position for each in event.ranges})
    assert read == [2, 5, 3]


def test_equal_records_are_two_purchases_and_a_file_read_again_is_the_same() -> None:
    """Derived ids differ inside a file and are the same for the same file under another name."""
    body = rows(b"BUS", b"BUS", b"TRAM", b"BUS")
    once = ids(drain(source_of({"a.csv": body}, DERIVED)), DERIVED)
    again = ids(drain(source_of({"b.csv": body}, DERIVED, size=1)), DERIVED)
    assert len(set(once)) == 4
    assert once == again


def test_quotes_make_no_other_record() -> None:
    """The same cells written with quotes get the ids that follow, and the same ones elsewhere."""
    mixed = ids(drain(source_of({"a.csv": rows(b"BUS", b'"BUS"')}, DERIVED)), DERIVED)
    bare = ids(drain(source_of({"a.csv": rows(b"BUS", b"BUS")}, DERIVED)), DERIVED)
    assert mixed == bare


def _written(text: str, *, quoted: bool) -> bytes:
    quoted = quoted or any(each in text for each in '";')
    return ('"' + text.replace('"', '""') + '"' if quoted else text).encode()


@settings(max_examples=60)
@given(
    texts=st.lists(st.text('aA";éß \x1f', min_size=1), min_size=2, max_size=5, unique=True),
    quotes=st.randoms(use_true_random=False),
)
def test_an_id_does_not_depend_on_other_records(texts: list[str], quotes: Random) -> None:
    """Alone or among others that differ from it, in whatever letters, however it is quoted."""

    def derived(*some: str) -> list[str]:
        body = rows(*(_written(each, quoted=quotes.random() < 0.5) for each in some))
        return ids(drain(source_of({"a.csv": body}, DERIVED)), DERIVED)

    together = derived(*texts)
    assert together == [derived(each)[0] for each in texts]
    assert len(set(together)) == len(texts)


def test_encodings_make_no_equal_purchases_one() -> None:
    """One text in two encodings inside a file stays two records with two ids."""
    body = rows(b"CAF\xe9", b"CAF\xc3\xa9")
    assert len(set(ids(drain(source_of({"a.csv": body}, DERIVED)), DERIVED))) == 2


def test_a_reject_has_a_derived_id() -> None:
    """Also a record that cannot be taken apart, and the same again next time."""
    body = rows(b"BUS;1", b"BUS;1", b"\xff\x81") + b'"unclosed\n'
    found = ids(drain(source_of({"a.csv": body}, DERIVED)), DERIVED)
    assert None not in found
    assert len(set(found)) == 4
    assert found == ids(drain(source_of({"b.csv": body}, DERIVED)), DERIVED)


@pytest.mark.parametrize("start", [0, 1, 5, 11, 12])
def test_a_resumed_file_gives_the_same_ids(start: int) -> None:
    """What was committed is read again to count it, and not handed out."""
    body = rows(*[b"BUS", b"TRAM", b"BUS"] * 4)
    whole = ids(drain(source_of({"a.csv": body}, DERIVED)), DERIVED)
    objects = MemoryObjects()
    source = source_of({"a.csv": body}, DERIVED, objects=objects)
    (partition,) = (each.partition for each in objects.list(ROOT))
    rest = drain(source, {partition: Position(start)})
    assert ids(rest, DERIVED) == whole[start:]
    assert rest[-1].ranges[0].position[:2] == (12, "finished")


def test_a_break_in_mid_file_is_resumed_after_what_was_handed_out() -> None:
    """The iterator ends with the error; the next one goes on."""
    objects = MemoryObjects()
    body = HEAD + b"".join(b"%d;x\n" % number for number in range(400_000))
    source = source_of({"a.csv": body}, objects=objects, size=10_000)
    events = source.events(nowhere)
    chunks = [event for event in (next(events) for _ in range(3)) if isinstance(event, Chunk)]
    objects.faults.plan("read", Unavailable("connection reset"))
    with pytest.raises(Unavailable):
        chunks.extend(event for event in events if isinstance(event, Chunk))
    for chunk in chunks:
        source.ack({each.partition: each.position for each in chunk.ranges})
    chunks += drain(source)
    assert [each.ranges[0].first for each in chunks] == [
        0,
        *(each.ranges[0].next for each in chunks[:-1]),
    ]
    assert chunks[-1].ranges[0].position[:2] == (400_000, "finished")
    assert not source.failed


def test_a_file_replaced_while_it_is_read_is_abandoned() -> None:
    """What was read of the old version stays whole; its last range says so."""
    objects = MemoryObjects()
    body = HEAD + b"1;a purchase\n" * 200_000
    source = source_of({"a.csv": body}, objects=objects, size=10_000)
    events = source.events(nowhere)
    first = next(events)
    objects.write(ROOT + "a.csv", HEAD)
    chunks = [
        first,
        *(each for each in (next(events) for _ in range(40)) if isinstance(each, Chunk)),
    ]
    assert isinstance(first, Chunk)
    last = chunks[-1]
    assert isinstance(last, Chunk)
    assert last.ranges[0].end == "abandoned"
    (error,) = source.failed.values()
    assert isinstance(error, Replaced)


def test_what_is_gone_before_it_is_read_is_not_abandoned() -> None:
    """Nothing was read of it, so that it is read whole if it comes back."""
    objects = MemoryObjects()
    source = source_of({"a.csv": HEAD + b"1;x\n", "b.csv": HEAD + b"2;x\n"}, objects=objects)
    gone = objects.bodies.pop(ROOT + "b.csv")
    chunks = drain(source)
    assert [each.ranges[0].end for each in chunks] == ["finished"]
    (error,) = source.failed.values()
    assert isinstance(error, Replaced)
    again = drain(source_of({"b.csv": gone}, objects=objects))
    assert [each.records.height for each in again] == [1]


BY_QUOTES = WITH_IDS
BY_LINES = replace(WITH_IDS, dialect=replace(WITH_IDS.dialect, quote=None))


def test_a_file_read_in_part_by_another_dialect_is_left_alone() -> None:
    """Its positions mean other records; the other files go on, and one not begun is read."""
    body = HEAD + b'1;"a\nb"\n2;x\n3;x\n4;x\n'
    objects = MemoryObjects()
    begun = source_of({"a.csv": body}, BY_LINES, objects=objects, limit=2)
    (chunk,) = drain(begun)
    stand = {each.partition: each.position for each in chunk.ranges}
    files = {"a.csv": body, "b.csv": body}
    source = source_of(files, BY_QUOTES, objects=objects)
    chunks = drain(source, stand)
    assert {each.partition for each in chunks[0].ranges}.isdisjoint(stand)
    assert sum(each.records.height for each in chunks) == 4
    (error,) = source.failed.values()
    assert isinstance(error, Renumbered)
    assert error.exit_code == 78
    assert sum(e.records.height for e in drain(source_of(files, BY_LINES), stand)) == 3 + 5
    zero = {partition: Position(0, None, at.numbering) for partition, at in stand.items()}
    assert sum(e.records.height for e in drain(source_of(files, BY_QUOTES), zero)) == 8


def test_a_limit_s_last_chunk_says_so() -> None:
    """Whether it cuts a chunk or falls on its end; what a limit does not reach has no such end."""
    body = HEAD + b"1;x\n" * 8
    for limit, last in (2, [True]), (3, [True]), (4, [False, True]), (9, [False, False, False]):
        chunks = drain(source_of({"a.csv": body}, limit=limit))
        assert [each.is_last for each in chunks] == last


def test_a_file_that_cannot_be_read_leaves_the_others_alone() -> None:
    """Wrong headers, or a file that breaks off: named, with what was read of it kept."""

    def truncated(name: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
        yield from blocks
        if name.endswith("broken.csv"):
            raise Unreadable("the archive is truncated")

    files = {
        "headers.csv": b"foo;bar\n1;2\n",
        "broken.csv": HEAD + b"1;a\n2;b\n",
        "good.csv": HEAD + b"3;c\n",
    }
    source = source_of(files, decompress=truncated)
    chunks = drain(source)
    assert [(each.records.height, each.ranges[0].end) for each in chunks] == [
        (2, None),
        (1, "finished"),
    ]
    assert {name.rpartition("/")[2].partition("#")[0] for name in source.failed} == {
        "headers.csv",
        "broken.csv",
    }
    messages = " ".join(str(error) for error in source.failed.values())
    assert "truncated" in messages
    assert "transaction_id" in messages


@pytest.mark.parametrize("limit", [1, 3, 4, 7, 12, 100])
def test_a_limit_cuts_exactly(limit: int) -> None:
    """At most so many records over all files; a file that is cut stays open."""
    body = HEAD + b"1;x\n" * 4
    source = source_of({"a.csv": body, "b.csv": body + b"\n", "c.csv": body + b"\n\n"}, limit=limit)
    chunks = drain(source)
    assert sum(each.records.height for each in chunks) == min(limit, 12)
    finished = sum(each.ranges[0].end == "finished" for each in chunks)
    assert finished == min(limit, 12) // 4


def test_long_records_make_chunks_of_fewer() -> None:
    """A chunk is bounded in bytes as well, each record is handed out, and one at least."""
    long = [b"%d;%s" % (number, b"x" * 900_000) for number in range(30)]
    body = b"\n".join([HEAD + b"0;x", *long, b"1;x", b"2;x"])
    chunks = drain(source_of({"a.csv": body}, size=1_000))
    assert [each.records.height for each in chunks] == [10, 9, 9, 5]
    assert chunks[-1].ranges[0].end == "finished"
    assert pl.concat(each.records for each in chunks)["position"].to_list() == list(range(33))


def test_raw_bytes_are_kept_as_they_came() -> None:
    """Whatever becomes of a record, its bytes are in the chunk, without the line's end."""
    records = [b'1;"a\r\nb"' + REST, b"2;caf\xe9" + REST, b"x", b";;;"]
    body = HEAD + records[0] + b"\r\n" + records[1] + b"\r" + b"\n\n".join(records[2:])
    (chunk,) = drain(source_of({"a.csv": body}, size=10))
    assert chunk.records["raw"].to_list() == records
    candidates, rejects = decode(chunk, WITH_IDS)
    good, invalid = split(candidates)
    assert good["description"].to_list() == ["a\r\nb", "café"]
    codes = Counter(pl.concat([rejects, invalid])["code"])
    assert codes == Counter(["wrong_field_count", "missing_transaction_id"])


def test_compressed_bytes_are_counted_as_stored() -> None:
    """Progress goes by what is read of the stored file."""

    def inflate(_: str, blocks: Iterator[bytes]) -> Iterator[bytes]:
        yield zlib.decompress(b"".join(blocks))

    stored = zlib.compress(HEAD + b"1;x\n" * 10_000)
    source = source_of({"a.csv": stored}, decompress=inflate, size=5_000)
    assert sum(each.records.height for each in drain(source)) == 10_000
    assert source.bytes_read == len(stored)
