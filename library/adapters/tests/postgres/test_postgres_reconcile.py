"""The books, proved from the tables alone."""

from dataclasses import replace

import polars as pl
import pytest
from sqlalchemy import Engine, delete, select, text

from assay.domain.books import Unfinished
from assay.domain.outcome import Outcome
from assay.domain.outcome import letters as letters_of
from assay.domain.position import Position, Range
from assay.domain.reject import faults
from assay.domain.rescore import position_of
from assay.domain.tally import Tally
from assay.testing.frames import outcome, together, transaction
from assay_adapters.postgres.begin import begin
from assay_adapters.postgres.discard import discard
from assay_adapters.postgres.imports import import_letters
from assay_adapters.postgres.reconcile import reconcile
from assay_adapters.postgres.retire import retire
from assay_adapters.postgres.runs import start_run
from assay_adapters.postgres.selection import PostgresSelection
from assay_adapters.postgres.store import PostgresStore
from assay_adapters.postgres.tables import ledger, runs

_FILE = "file:///data/a.csv#1"


@pytest.fixture
def books(engine: Engine) -> Engine:
    """A database whose books balance: a topic, a finished file, and what became of letters.

    Of three letters a redrive has closed one and has failed with another, and a person has
    discarded the third; a fourth was imported.
    """
    store = PostgresStore(engine, processing_type="batch")
    store.commit(outcome(["a", "b"], first=40, rejected=["x"], source="topic"))
    store.commit(outcome(["c"], first=43, source="topic", run="run-2"))
    store.commit(
        outcome(["a", "d", transaction("b", side="credit")], partition=_FILE, rejected=["y"])
    )
    store.commit(outcome([], partition=_FILE, first=4, end="finished"))
    selection = PostgresSelection(engine, "run-3", by="somebody")
    assert selection.claim({"codes": ["missing_side"]}, None, lambda _: None) == 2
    redriven = outcome(["e"], source="redrive", partition="run-3", run="run-3", rejected=["y"])
    store.commit(redriven)
    assert discard(engine, {"codes": ["conflicting_duplicate"]}, by="somebody", reason="known") == 1
    elsewhere = outcome([], rejected=["z"], source="elsewhere")
    letters = letters_of(elsewhere, elsewhere.rejects).with_columns(attempt=pl.lit(3, pl.Int16))
    assert import_letters(engine, letters, run_id="run-4", by="somebody", place="there").new == 1
    return engine


def test_books_that_were_kept_balance(books: Engine) -> None:
    """No difference; partitions without an end are named for information."""
    report = reconcile(books)
    assert report.differences == ()
    assert report.entries == 6
    assert report.tally == Tally(read=11, classified=5, rejected=5, duplicate=1)
    assert report.unfinished == (
        Unfinished("redrive", "run-3", 2, 0, None),
        Unfinished("topic", "transactions/0", 44, 40, None),
    )


def test_books_without_an_entry_balance(engine: Engine) -> None:
    """There is nothing to differ."""
    report = reconcile(engine)
    assert (report.entries, report.tally, report.differences) == (0, Tally(), ())


def test_a_redrive_that_holds_nothing_is_not_unfinished(books: Engine) -> None:
    """Whether it gave its letters back, or was killed and its lease is over."""
    with books.begin() as connection:
        connection.execute(text("UPDATE redrives SET leased_until = now()"))
    assert [each.source for each in reconcile(books).unfinished] == ["topic"]


def test_what_was_imported_may_be_rejected_here_later(books: Engine) -> None:
    """Then it has two letters, one of either; what was rejected here is not imported again."""
    store = PostgresStore(books, processing_type="stream")
    mine = outcome([], rejected=["z"], source="elsewhere")
    store.commit(mine)
    assert reconcile(books).differences == ()
    more = outcome(["g"], rejected=["z"], source="elsewhere")
    both = letters_of(more, faults(pl.DataFrame({"row": [0, 1], "code": "c"}), stage="decode"))
    store.commit(outcome(["g"], first=1, source="elsewhere"))
    assert import_letters(books, both, run_id="run-5", by="somebody", place="there").new == 0
    assert reconcile(books).differences == ()


def test_books_that_are_put_aside_keep_their_letters(books: Engine) -> None:
    """By their topic's id an import tells which are known, of whichever topic of that name."""
    store = PostgresStore(books, processing_type="stream")

    def of(topic: str | None, *rejected: str, first: int = 0) -> Outcome:
        given = outcome([], rejected=rejected, source="kafka/t", partition="0", first=first)
        return replace(given, ranges=(replace(given.ranges[0], numbering=topic),))

    def take(given: Outcome, run_id: str) -> int:
        found = letters_of(given, given.rejects)
        return import_letters(books, found, run_id=run_id, by="somebody", place="there").new

    store.commit(of("A", "x", "y"))
    assert take(of("B", "x"), "run-5") == 1
    retire(books, "kafka/t", ["0"], {"0": Position(0, None, "B")}, "run-6")
    store.commit(of("B", "x"))
    assert [take(of(topic, "x", "y"), "run-7") for topic in ("A", None, "B", "C")] == [0, 0, 1, 2]
    assert [take(of(topic, "x", "y"), "run-8") for topic in ("A", None, "B", "C")] == [0] * 4
    assert take(of("A", "z", first=2), "run-9") == 1
    assert reconcile(books).differences == ()


def test_of_several_attempts_the_last_is_imported(books: Engine) -> None:
    """In one frame or several, with the topic's id or without: one letter, until it is touched."""
    given = outcome([], rejected=["x"], source="kafka/t", partition="0")
    one = letters_of(given, given.rejects)

    def attempt(number: int, topic: str | None = None, position: int = 0) -> pl.DataFrame:
        return one.with_columns(
            attempt=pl.lit(number, pl.Int16),
            code=pl.lit(f"code-{number}"),
            topic_id=pl.lit(topic, pl.String),
            position=pl.lit(position, pl.Int64),
        )

    def take(*found: pl.DataFrame) -> tuple[int, int]:
        letters = pl.concat(found)
        return import_letters(books, letters, run_id="run-5", by="somebody", place="there")

    def stands() -> list[tuple[object, ...]]:
        letters = (
            "SELECT position, topic_id, attempt, code FROM dead_letters"
            " WHERE import_run = 'run-5' ORDER BY id"
        )
        with books.connect() as connection:
            return [tuple(row) for row in connection.execute(text(letters))]

    assert take(attempt(1), attempt(3, "A"), attempt(2), attempt(1, position=9)) == (2, 0)
    assert stands() == [(0, "A", 3, "code-3"), (9, None, 1, "code-1")]
    assert take(attempt(4), attempt(2, "A"), attempt(2, position=9)) == (0, 2)
    assert stands() == [(0, "A", 4, "code-4"), (9, None, 2, "code-2")]
    assert take(attempt(1, "B"), attempt(9), attempt(3, position=9)) == (1, 1)
    assert stands() == [(0, "A", 4, "code-4"), (9, None, 3, "code-3"), (0, "B", 9, "code-9")]
    with books.begin() as connection:
        codes = "SELECT code FROM dead_letter_actions WHERE run_id = 'run-5' ORDER BY id"
        noted = connection.execute(text(codes)).scalars().all()
        connection.execute(text("UPDATE dead_letters SET redrive = 'run-6' WHERE position = 9"))
    assert noted == ["code-3", "code-1", "code-3", "code-1", "code-2", "code-9"]
    assert take(attempt(4, position=9)) == (0, 0)
    assert stands()[1] == (9, None, 3, "code-3")
    assert take(attempt(4, "A", position=9)) == (0, 0)
    assert stands()[1] == (9, None, 3, "code-3")
    assert reconcile(books).differences == ()


def test_a_letter_gets_its_topics_id_from_a_later_page(books: Engine) -> None:
    """As within one page; the next topic's letter at this place is then another one."""
    given = outcome([], rejected=["x"], source="kafka/t", partition="0")
    one = letters_of(given, given.rejects)

    def take(*topics: str | None) -> int:
        named = [one.with_columns(topic_id=pl.lit(each, pl.String)) for each in topics]
        letters = pl.concat(named)
        return import_letters(books, letters, run_id="run-5", by="somebody", place="there").new

    def stands() -> list[str | None]:
        found = "SELECT topic_id FROM dead_letters WHERE import_run = 'run-5' ORDER BY id"
        with books.connect() as connection:
            return list(connection.execute(text(found)).scalars())

    assert take(None) == 1
    assert take("A", "B") == 0
    assert stands() == [None]
    assert take("A") == 0
    assert stands() == ["A"]
    assert take(None, "B") == 1
    assert stands() == ["A", "B"]
    assert reconcile(books).differences == ()


def test_books_begin_where_they_are_let_begin(books: Engine) -> None:
    """Who is first decides, nobody moves what stands, and the beginning alone is no difference."""
    store, names = PostgresStore(books, processing_type="stream"), ["0", "1", "2"]

    def late(run_id: str, **begins: int) -> None:
        at = {name.removeprefix("p"): Position(each, None, "A") for name, each in begins.items()}
        begin(books, "kafka/t", at, run_id=run_id, version="1")

    late("begin-1", p0=5, p1=0)
    late("begin-1", p0=6, p1=6)  # as if its answer had been lost
    late("begin-2", p0=7, p1=7)
    late("begin-3", p1=8, p2=9)
    stands = store.positions("kafka/t", names)
    assert {name: at.next for name, at in stands.items()} == {"0": 5, "1": 0, "2": 9}
    assert reconcile(books).differences == ()
    with books.connect() as connection:
        noted = connection.execute(select(runs.c.run_id).where(runs.c.kind == "begin"))
        assert sorted(noted.scalars()) == ["begin-1", "begin-3"]
    given = outcome(["a"], source="kafka/t", partition="0", first=5)
    store.commit(replace(given, ranges=(replace(given.ranges[0], numbering="A"),)))
    assert reconcile(books).differences == ()
    start_run(books, "run-9", kind="accept-gap", source="kafka/t", version="1")
    cut = {"0": Position(3, None, "A")}  # as where the topic ends before its books
    retire(books, "kafka/t", ["0", "1"], cut, "run-9")
    late("begin-4", p3=3)
    assert reconcile(books).differences == ()
    with books.begin() as connection:
        connection.execute(text("UPDATE ledger SET first = 4 WHERE partition = '0#run-9'"))
    found = [
        (each.what, each.partition, each.expected, each.found)
        for each in reconcile(books).differences
    ]
    assert found == [("where the first range begins", "0", 5, 3)]
    with books.begin() as connection:
        connection.execute(delete(ledger).where(ledger.c.source == "kafka/t"))
    assert _POSITION in {each.what for each in reconcile(books).differences}


@pytest.fixture
def rescored(books: Engine) -> Engine:
    """The same with a rescore of three transactions, and one that the model has rejected."""
    store = PostgresStore(books, processing_type="rescore")
    a, *others = (transaction(each, model_version="2", needs_review=each == "b") for each in "abc")
    again = [a | {"category": "Travel"}, *others]
    given = outcome(again, source=_RESCORE, partition="t", rejected=["d"])
    with books.connect() as connection:
        numbers = connection.execute(text(_NUMBERS)).scalars().all()
    at = pl.Series("position", [*numbers, numbers[-1] + 1], dtype=pl.Int64)
    ranges = (Range("t", 0, position_of(100), 4),)
    store.commit(replace(given, ranges=ranges, records=given.records.with_columns(at)))
    return books


def test_a_rescore_has_predictions_only(rescored: Engine) -> None:
    """Neither transactions nor letters, and it is not named as unfinished."""
    report = reconcile(rescored)
    assert report.differences == ()
    assert report.rescored == 4
    assert report.tally == Tally(read=15, classified=8, rejected=6, duplicate=1, needs_review=1)
    assert [each.source for each in report.unfinished] == ["redrive", "topic"]


@pytest.mark.parametrize(
    ("damage", "what", "expected", "found"),
    [
        (
            "DELETE FROM predictions WHERE model_version = '2' AND category = 'Travel'",
            "transactions with a prediction",
            3,
            2,
        ),
        (
            "UPDATE predictions SET needs_review = true WHERE model_version = '2'",
            "predictions that need review",
            1,
            3,
        ),
        ("UPDATE transactions SET entry = (SELECT max(entry) FROM ledger)", "transactions", 0, 5),
        (
            "DELETE FROM ledger WHERE source LIKE 'rescore/%'",
            "the position, and how it ended",
            None,
            position_of(100),
        ),
    ],
)
def test_a_rescore_is_held_against_its_predictions(
    rescored: Engine, damage: str, what: str, expected: int | None, found: int
) -> None:
    """What is missing or too much is named."""
    with rescored.begin() as connection:
        connection.execute(text(damage))
    named = {(each.source, each.what): each for each in reconcile(rescored).differences}
    difference = named[_RESCORE, what]
    assert (difference.expected, difference.found) == (expected, found)


_RESCORE = "rescore/linear/2"
_NUMBERS = "SELECT number FROM transactions WHERE transaction_id IN ('a', 'b', 'c') ORDER BY 1"
_RANGES = "ranges that do not begin where the one before ends"
_OUTSIDE = "ranges with transactions from outside"
_POSITION = "the position, and how it ended"
_CLOSED = "dead letters that a redrive closed"
_STRAY = "transactions of a redrive without a closed dead letter"
_REDRIVE = ("redrive", None, "run-3")
_TOPIC = ("topic", "transactions/0", None)
_OF_B = "WHERE number = (SELECT number FROM transactions WHERE transaction_id = 'b')"
_RUN_1 = ("topic", "transactions/0", "run-1")
_RUN_2 = ("topic", "transactions/0", "run-2")
_OF_FILE = ("files", _FILE, "run-1")


@pytest.mark.parametrize(
    ("damage", "differences"),
    [
        (
            "UPDATE ledger SET first = 44, next = 45 WHERE run_id = 'run-2'",
            [(_RANGES, *_RUN_2, 0, 1), (_OUTSIDE, *_RUN_2, 0, 1), (_POSITION, *_TOPIC, 45, 44)],
        ),
        (
            "UPDATE ledger SET first = 42 WHERE run_id = 'run-2'",
            [(_RANGES, *_RUN_2, 0, 1)],
        ),
        (
            "UPDATE ledger SET first = 1, next = 5 WHERE partition LIKE 'file:%' AND first = 0",
            [(_RANGES, *_OF_FILE, 0, 2)],
        ),
        (
            "UPDATE ledger SET end_state = 'finished' WHERE partition LIKE 'file:%'",
            [(_RANGES, *_OF_FILE, 0, 1)],
        ),
        (
            "DELETE FROM ledger WHERE run_id = 'run-2'",
            [
                ("transactions without a ledger entry", None, None, None, 0, 1),
                (_POSITION, *_TOPIC, 43, 44),
            ],
        ),
        (
            "DELETE FROM transactions WHERE transaction_id = 'b'",
            [
                ("transactions", *_RUN_1, 2, 1),
                ("transactions with a prediction", *_RUN_1, 2, 1),
                ("predictions without their transaction", None, None, "run-1", 0, 1),
            ],
        ),
        (
            "DELETE FROM predictions " + _OF_B,  # noqa: S608 - our own words
            [("transactions with a prediction", *_RUN_1, 2, 1)],
        ),
        (
            "UPDATE predictions SET entry = 0 " + _OF_B,  # noqa: S608 - our own words
            [("transactions with a prediction", *_RUN_1, 2, 1)],
        ),
        (
            "UPDATE transactions SET position = 43 WHERE transaction_id = 'b'",
            [(_OUTSIDE, *_RUN_1, 0, 1)],
        ),
        (
            "UPDATE transactions SET position = 39 WHERE transaction_id = 'b'",
            [(_OUTSIDE, *_RUN_1, 0, 1)],
        ),
        (
            "UPDATE transactions SET position = 40 WHERE transaction_id = 'b'",
            [("transactions at a position that another one has", *_RUN_1, 0, 1)],
        ),
        (
            "UPDATE predictions SET needs_review = true " + _OF_B,  # noqa: S608 - our own words
            [("predictions that need review", *_RUN_1, 0, 1)],
        ),
        (
            "UPDATE dead_letters SET position = 41 WHERE source = 'topic'",
            [("dead letters at the position of a transaction", *_TOPIC, 0, 1)],
        ),
        (
            "UPDATE positions SET next = 50 WHERE source = 'topic'",
            [(_POSITION, *_TOPIC, 44, 50)],
        ),
        (
            "DELETE FROM positions WHERE source = 'topic'",
            [(_POSITION, *_TOPIC, 44, None)],
        ),
        (
            "UPDATE positions SET end_state = NULL WHERE partition LIKE 'file:%'",
            [(_POSITION, "files", _FILE, None, 4, 4)],
        ),
        (
            "INSERT INTO positions (source, partition, next, run_id) VALUES ('a', 'b', 7, 'c')",
            [(_POSITION, "a", "b", None, None, 7)],
        ),
        (
            "DELETE FROM dead_letters WHERE source = 'topic'",
            [
                ("dead letters", *_TOPIC, 1, 0),
                (_CLOSED, *_REDRIVE, 1, 0),
                (_STRAY, *_REDRIVE, 0, 1),
            ],
        ),
        (
            "UPDATE dead_letters SET source = 'there' WHERE source = 'topic'",
            [
                ("dead letters", "there", "transactions/0", None, 0, 1),
                ("dead letters", *_TOPIC, 1, 0),
            ],
        ),
        (
            """
            INSERT INTO dead_letters (source, partition, position, length, stage, code,
                retriable, attempt, run_id, destination)
            VALUES ('a', 'b', 7, 0, 'decode', 'c', false, 1, 'run-1', 'd')
            """,
            [("dead letters", "a", "b", None, 0, 1)],
        ),
        (
            "DELETE FROM dead_letters WHERE import_run = 'run-4'",
            [("dead letters", "import", "run-4", None, 1, 0)],
        ),
        (
            "UPDATE dead_letters SET import_run = 'run-5' WHERE import_run = 'run-4'",
            [
                ("dead letters", "import", "run-4", None, 1, 0),
                ("dead letters", "import", "run-5", None, 0, 1),
            ],
        ),
        (
            "UPDATE dead_letters SET state = 'open' WHERE state = 'closed'",
            [(_CLOSED, *_REDRIVE, 1, 0), (_STRAY, *_REDRIVE, 0, 1)],
        ),
        (
            "UPDATE dead_letters SET state = 'closed' WHERE state = 'open' AND redrive IS NOT NULL",
            [(_CLOSED, *_REDRIVE, 1, 2)],
        ),
        (
            "UPDATE dead_letters SET number = 7 WHERE state = 'closed'",
            [(_STRAY, *_REDRIVE, 0, 1)],
        ),
        (
            "DELETE FROM dead_letter_actions WHERE action = 'closed'",
            [("dead letters noted as closed", *_REDRIVE, 1, 0)],
        ),
        (
            "DELETE FROM dead_letter_actions WHERE action = 'failed'",
            [
                ("dead letters noted as failed again", *_REDRIVE, 1, 0),
                ("further attempts of dead letters", None, None, None, 0, 1),
            ],
        ),
        (
            "UPDATE dead_letters SET attempt = 3 WHERE state = 'closed'",
            [("further attempts of dead letters", None, None, None, 1, 3)],
        ),
        (
            "UPDATE dead_letters SET state = 'open' WHERE state = 'discarded'",
            [("discarded dead letters", None, None, None, 1, 0)],
        ),
        (
            "UPDATE dead_letters SET state = 'closed' WHERE import_run = 'run-4'",
            [(_CLOSED, "redrive", None, None, 0, 1)],
        ),
    ],
)
def test_each_difference_is_named(
    books: Engine, damage: str, differences: list[tuple[object, ...]]
) -> None:
    """What differs, where, what the books say and what is there; and nothing else."""
    with books.begin() as connection:
        connection.execute(text(damage))
    assert [
        (each.what, each.source, each.partition, each.run_id, each.expected, each.found)
        for each in reconcile(books).differences
    ] == differences


def test_the_equation_is_checked_though_the_table_does(books: Engine) -> None:
    """A ledger without its constraint is found out."""
    with books.connect() as connection:
        connection.execute(text("ALTER TABLE ledger DROP CONSTRAINT ledger_balance"))
        connection.execute(text("UPDATE ledger SET read = 2 WHERE source = 'topic' AND first = 40"))
        unbalanced = connection.scalars(
            text("SELECT unbalanced FROM reconciliation WHERE source = 'topic' ORDER BY run_id")
        )
        assert unbalanced.all() == [1, 0]


def test_the_books_are_read_as_they_are_at_one_moment(books: Engine) -> None:
    """A commit that comes meanwhile makes no difference; nothing is locked."""
    store = PostgresStore(books, processing_type="stream")
    both = together(outcome(["f"], source="topic", first=44), outcome(["g"], partition="p/1"))
    with books.begin() as connection:
        connection.execute(text("LOCK TABLE ledger IN SHARE UPDATE EXCLUSIVE MODE"))
        assert reconcile(books).differences == ()
    store.commit(both.without(["transactions/0"]))
    assert reconcile(books).differences == ()
