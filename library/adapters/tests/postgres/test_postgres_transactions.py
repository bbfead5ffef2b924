"""Stored transactions as a source."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from operator import itemgetter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, text

from assay.domain.chunk import Chunk, Idle
from assay.domain.errors import Unavailable
from assay.domain.identity import content_hash
from assay.domain.position import Partition, Position, Positions
from assay.domain.rescore import StoredChunk, decode, position_of
from assay.domain.rules import COLUMNS
from assay.domain.tally import Tally
from assay.domain.transaction import TRANSACTIONS
from assay.memory.clock import MemoryClock
from assay.ports.source import Source
from assay.testing.frames import outcome, transaction, transactions
from assay.testing.source import MakeSource, SourceSuite
from assay_adapters.postgres.store import PostgresStore
from assay_adapters.postgres.transactions import TransactionSource, latest, to_come

_ONE = pytest.mark.xfail(strict=True, raises=KeyError, reason="a rescore has one partition")
_TABLE = "transactions"


class TestTransactionSource(SourceSuite):
    @pytest.fixture
    def make_source(self, engine: Engine) -> MakeSource:
        """The ids of the first log, each in a ledger entry of its own, numbered from 0."""

        def make(logs: Mapping[str, Sequence[bytes]]) -> tuple[Source, dict[str, Partition]]:
            name, words = next(iter(logs.items()))
            store = PostgresStore(engine, processing_type="batch")
            for number, word in enumerate(words):
                store.commit(outcome([word.decode()], first=number))
            _number_anew(engine)
            return _source(engine, chunk_records=3), {name: _TABLE}

        return make

    def place(self, number: int) -> int:
        return position_of(number)

    @_ONE
    def test_begins_where_the_store_stands(self, make_source: MakeSource) -> None:
        super().test_begins_where_the_store_stands(make_source)

    @_ONE
    def test_a_rewind_begins_again_where_the_store_stands(self, make_source: MakeSource) -> None:
        super().test_a_rewind_begins_again_where_the_store_stands(make_source)


def _number_anew(engine: Engine) -> None:
    """Gives the ledger's entries the numbers from 0 on."""
    with engine.begin() as connection:
        lowest = connection.execute(text("SELECT min(entry) FROM ledger")).scalar_one()
        numbered = f"entry = entry - {lowest}, number = number - ({lowest}::bigint << 24)"
        connection.execute(text(f"UPDATE ledger SET entry = entry - {lowest}"))  # noqa: S608 - our own words
        for table in ("transactions", "predictions"):
            connection.execute(text(f"UPDATE {table} SET {numbered}"))  # noqa: S608 - our own words


def _source(
    engine: Engine,
    *,
    clock: MemoryClock | None = None,
    chunk_records: int = 50_000,
    limit: int | None = None,
    rate: float | None = None,
) -> TransactionSource:
    return TransactionSource(
        engine,
        _TABLE,
        clock or MemoryClock(),
        chunk_records=chunk_records,
        limit=limit,
        rate=rate,
    )


def _nowhere(_: Sequence[Partition]) -> Positions:
    return {}


def _drained(source: TransactionSource, stands: Positions | None = None) -> list[StoredChunk]:
    """All chunks, each acked at once."""
    chunks: list[StoredChunk] = []
    for event in source.events(lambda _: stands or {}):
        if isinstance(event, StoredChunk):
            chunks.append(event)
            source.ack({each.partition: each.position for each in event.ranges})
    return chunks


def _ids(chunks: Sequence[StoredChunk]) -> list[list[str]]:
    return [each.transactions["transaction_id"].to_list() for each in chunks]


@pytest.fixture
def store(engine: Engine) -> PostgresStore:
    """On the same database."""
    return PostgresStore(engine, processing_type="batch")


@given(
    rows=st.lists(
        transactions(), min_size=1, max_size=8, unique_by=lambda each: each["transaction_id"]
    )
)
@settings(
    max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_whatever_is_stored_is_handed_out_as_it_was(
    engine: Engine, rows: list[dict[str, object]]
) -> None:
    """To the last character, blank and microsecond, in the order of their ids."""
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE transactions, predictions, ledger, positions"))
    stored = outcome(sorted(rows, key=itemgetter("transaction_id")))
    PostgresStore(engine, processing_type="batch").commit(stored)
    (chunk,) = _drained(_source(engine))
    assert chunk.transactions.select(COLUMNS).equals(stored.classified.select(COLUMNS))
    assert content_hash(chunk.transactions).equals(stored.classified["content_hash"])
    assert decode(chunk)[0].equals(chunk.transactions)


def test_a_chunk_holds_whole_entries(engine: Engine, store: PostgresStore) -> None:
    """As many as fit, one at least; those of rescores, and without any transaction, have none."""
    store.commit(outcome(["a", "b"]))
    store.commit(outcome([], first=2, rejected=["x"]))
    store.commit(outcome([transaction("a", model_version="2")], source="rescore/linear/2"))
    store.commit(outcome(["c"], first=3))
    store.commit(outcome(["d", "e", "f", "g"], first=4))
    store.commit(outcome(["h"], first=8))
    source = _source(engine, chunk_records=3)
    assert to_come(engine, None) == 8
    chunks = _drained(source)
    assert _ids(chunks) == [["a", "b", "c"], ["d", "e", "f", "g"], ["h"]]
    assert [each.is_last for each in chunks] == [False, False, True]
    assert to_come(engine, chunks[0].ranges[0].position) == 5
    assert [each.ranges[0].read for each in chunks] == [3, 4, 1]


def test_what_comes_later_is_left_to_the_next_run(engine: Engine, store: PostgresStore) -> None:
    """Which begins with it, and finds nothing where there is nothing."""
    store.commit(outcome(["a"]))
    source = _source(engine)
    events = source.events(_nowhere)
    first = next(events)
    assert isinstance(first, StoredChunk)
    store.commit(outcome(["b"], first=1))
    at: dict[Partition, Position] = {each.partition: each.position for each in first.ranges}
    source.ack(at)
    assert list(events) == []
    (later,) = _drained(_source(engine), at)
    assert _ids([later]) == [["b"]]
    at = {each.partition: each.position for each in later.ranges}
    assert _drained(_source(engine), at) == []


def test_rows_may_be_moved(engine: Engine, store: PostgresStore) -> None:
    """A table that is written anew, or whose rows lie elsewhere, is read on where it stood."""
    for number, each in enumerate("abcd"):
        store.commit(outcome([each], first=number))
    source = _source(engine, chunk_records=1)
    events = source.events(_nowhere)
    chunks = list(islice(events, 2))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("UPDATE transactions SET mcc = '5411' WHERE transaction_id = 'c'"))
        connection.execute(text("CLUSTER transactions USING transactions_pkey"))
        connection.execute(text("VACUUM FULL transactions"))
    chunks += list(islice(events, 2))
    assert _ids([each for each in chunks if isinstance(each, StoredChunk)]) == [
        [each] for each in "abcd"
    ]


_BLOCK = """
    INSERT INTO predictions (number, model_name, model_version, category, confidence, needs_review,
        entry, processing_type)
    SELECT (last_value + is_called::int) << 24, 'linear', '1', 'Food', 1, false, 0, 'batch'
    FROM ledger_entry
"""
_IS_BLOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture
def half(engine: Engine, store: PostgresStore) -> Iterator[Callable[[], Tally]]:
    """Commits `a`, and before that is done `b`; what is returned ends the first commit."""
    with ThreadPoolExecutor(1) as pool, engine.connect() as blocker:
        blocker.execute(text(_BLOCK))
        early = pool.submit(store.commit, outcome(["a"], partition="early"))
        with engine.connect() as connection:
            while connection.execute(text(_IS_BLOCKED)).scalar_one() == 0:
                assert not early.done()
                connection.rollback()
        store.commit(outcome(["b"], partition="late"))

        def end() -> Tally:
            blocker.rollback()
            return early.result()

        yield end
        end()


def test_commits_that_are_under_way_are_waited_for(
    engine: Engine, half: Callable[[], Tally]
) -> None:
    """They may have lower numbers than what is committed already."""
    events = _source(engine).events(_nowhere)
    assert all(isinstance(each, Idle) for each in islice(events, 3))
    half()
    chunk = next(events)
    assert isinstance(chunk, StoredChunk)
    assert _ids([chunk]) == [["a", "b"]]


def test_a_commit_that_does_not_end_counts_as_an_outage(
    engine: Engine, half: Callable[[], Tally]
) -> None:
    """Nothing is handed out before it has ended."""
    source = _source(engine)
    for _ in range(3):
        with pytest.raises(Unavailable, match="does not end"):
            list(source.events(_nowhere))
    half()
    assert _ids(_drained(source)) == [["a", "b"]]


def test_a_limit_ends_it(engine: Engine, store: PostgresStore) -> None:
    """Once so many are handed out, with the whole entry that reaches it."""
    for number, each in enumerate("abcd"):
        store.commit(outcome([each, each * 2], first=2 * number))
    chunks = _drained(_source(engine, limit=3))
    assert _ids(chunks) == [["a", "aa", "b", "bb"]]
    assert chunks[-1].is_last
    at = {each.partition: each.position for each in chunks[-1].ranges}
    assert _ids(_drained(_source(engine), at)) == [["c", "cc", "d", "dd"]]


def test_no_more_is_handed_out_than_the_rate_allows(engine: Engine, store: PostgresStore) -> None:
    """Over any longer time; the loop goes on meanwhile."""
    for number in range(20):
        store.commit(outcome([f"a{number}"], first=number))
    clock = MemoryClock()
    source, handed = _source(engine, clock=clock, rate=2), 0
    for event in source.events(_nowhere):
        if isinstance(event, Chunk):
            handed += event.records.height
            source.ack({each.partition: each.position for each in event.ranges})
        assert handed <= 2 + 2 * (clock.now() + 1)
    assert handed == 20
    assert 7 <= clock.now() <= 11


def test_rows_that_were_deleted_are_missing(engine: Engine, store: PostgresStore) -> None:
    """The rest of their entry is there; an entry without any is a range without records."""
    store.commit(outcome(["a", "b"]))
    store.commit(outcome(["c"], first=2))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM transactions WHERE transaction_id IN ('a', 'c')"))
    chunks = _drained(_source(engine, chunk_records=2))
    assert _ids(chunks) == [["b"], []]
    assert [each.ranges[0].read for each in chunks] == [1, 0]


_EXPLAIN = """
    EXPLAIN SELECT * FROM transactions
    WHERE number >= (SELECT last_value << 24 FROM ledger_entry)
"""


def test_entries_are_found_by_their_index(engine: Engine, store: PostgresStore) -> None:
    """The whole table is not read for each chunk, not even before there are statistics."""
    store.commit(outcome(["a", "b"]))
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        assert "transactions_number" in "\n".join(connection.execute(text(_EXPLAIN)).scalars())


def test_the_latest_come_first(engine: Engine, store: PostgresStore) -> None:
    """In frames that hold whole ledger entries, cut where there are enough."""
    store.commit(outcome(["a", "b"]))
    store.commit(outcome([transaction("a", model_version="2")], source="rescore/linear/2"))
    store.commit(outcome([], first=2, rejected=["x"]))
    store.commit(outcome(["c"], first=3))
    store.commit(outcome(["d", "e", "f", "g"], first=4))

    def ids(limit: int | None) -> list[list[str]]:
        frames = latest(engine, limit, chunk_records=3)
        return [each["transaction_id"].to_list() for each in frames]

    assert ids(None) == [["d", "e", "f", "g"], ["a", "b", "c"]]
    assert ids(6) == [["d", "e", "f", "g"], ["b", "c"]]
    assert ids(2) == [["f", "g"]]
    assert [each.schema for each in latest(engine)] == [TRANSACTIONS]


def test_the_latest_are_read_without_a_transaction_open(
    engine: Engine, store: PostgresStore
) -> None:
    """What is committed meanwhile is left out, and deleted rows are missing."""
    for number, each in enumerate("abc"):
        store.commit(outcome([each], first=number))
    frames = latest(engine, chunk_records=1)
    assert next(frames)["transaction_id"].to_list() == ["c"]
    store.commit(outcome(["d"], first=3))
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM transactions WHERE transaction_id = 'b'"))
        busy = text(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state LIKE 'idle in%' AND pid <> pg_backend_pid()"
        )
        assert connection.execute(busy).scalar_one() == 0
    assert [each["transaction_id"].to_list() for each in frames] == [["a"]]
