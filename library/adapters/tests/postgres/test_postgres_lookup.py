"""Dead letters as people look them up."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from assay.domain.choice import Filter
from assay.domain.errors import Unavailable
from assay.testing.frames import outcome, transaction
from assay_adapters.postgres import lookup
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.lookup import DeadLetters
from assay_adapters.postgres.selection import PostgresSelection
from assay_adapters.postgres.store import PostgresStore

_DAY = datetime(2024, 5, 1, tzinfo=UTC)
_CONTENT = {"key", "header", "raw", "sha256"}


@pytest.fixture
def shelf(engine: Engine) -> DeadLetters:
    """Letters of two sources and runs, two codes and stages, a day apart."""
    store = PostgresStore(engine, processing_type="batch")
    store.commit(outcome(["a"], rejected=["x", "y"]))
    store.commit(outcome([transaction("a", side="credit")], source="topic", run="run-2"))
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE dead_letters SET created_at = :day + make_interval(days => id::int)"),
            {"day": _DAY},
        )
        connection.execute(
            text(
                "UPDATE dead_letters SET state = 'closed', retriable = true, model_version = '7',"
                " attempt = 3, tried_at = now() - interval '59 minutes'"
                " WHERE transaction_id = 'y'"
            )
        )
    return DeadLetters(engine)


@pytest.mark.parametrize(
    ("chosen", "ids"),
    [
        (Filter(), ["a", "y", "x"]),
        (Filter(codes=(), stages=(), states=(), run_id=None), ["a", "y", "x"]),
        (Filter(codes=["missing_side"]), ["y", "x"]),
        (Filter(codes=["missing_side", "conflicting_duplicate"]), ["a", "y", "x"]),
        (Filter(stages=["commit"]), ["a"]),
        (Filter(stages=["commit", "validate"], states=["closed"]), ["y"]),
        (Filter(run_id="run-2"), ["a"]),
        (Filter(source="files"), ["y", "x"]),
        (Filter(source="files", states=["open"]), ["x"]),
        (Filter(states=["closed", "discarded"]), ["y"]),
        (Filter(since=_DAY + timedelta(days=2)), ["a", "y"]),
        (Filter(until=_DAY + timedelta(days=2)), ["x"]),
        (Filter(source="topic", stages=["validate"]), []),
        (Filter(ids=[2, 4]), ["y"]),
        (Filter(ids=()), ["a", "y", "x"]),
        (Filter(retriable=True), ["y"]),
        (Filter(retriable=False), ["a", "x"]),
        (Filter(model_version="7"), ["y"]),
        (Filter(max_attempts=3), ["a", "x"]),
        (Filter(max_attempts=4), ["a", "y", "x"]),
        (Filter(due=timedelta(minutes=15)), ["a", "x"]),
        (Filter(due=timedelta(minutes=14)), ["a", "y", "x"]),
        (Filter(source_prefix="top"), ["a"]),
        (Filter(source_prefix=""), ["a", "y", "x"]),
    ],
)
def test_letters_are_found_by_what_is_known_of_them(
    shelf: DeadLetters, chosen: Filter, ids: list[str]
) -> None:
    """All of what is given must hold; the list begins with the latest, the stream ends so."""
    assert [each["transaction_id"] for each in shelf.latest(chosen, 10)] == ids
    assert [each["transaction_id"] for each in shelf.every(chosen)] == ids[::-1]
    assert sum(each["letters"] for each in shelf.counts(chosen)) == len(ids)


def test_an_hour_is_always_enough(shelf: DeadLetters, engine: Engine) -> None:
    """However often a letter was tried; unless more is asked for."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE dead_letters SET attempt = 32767, tried_at = now() - interval '61 minutes'"
            )
        )
    assert len(shelf.latest(Filter(due=timedelta(seconds=1)), 10)) == 3
    assert shelf.latest(Filter(due=timedelta(hours=2)), 10) == []


def test_letters_that_wait_are_counted(shelf: DeadLetters, engine: Engine) -> None:
    """By destination, until they are published."""
    assert shelf.waiting() == {"memory:errors": 3}
    with engine.begin() as connection:
        connection.execute(text("UPDATE dead_letters SET published_at = now()"))
    assert shelf.waiting() == {}


def test_no_more_letters_than_asked_for(shelf: DeadLetters) -> None:
    """The latest ones, and nothing of their content."""
    found = shelf.latest(Filter(), 2)
    assert [each["transaction_id"] for each in found] == ["a", "y"]
    assert not _CONTENT & found[0].keys()


def test_letters_are_counted_by_what_happened(shelf: DeadLetters) -> None:
    """By state, stage, code and field, and the most frequent first."""
    assert [tuple(each.values()) for each in shelf.counts(Filter(states=["open"]))] == [
        ("open", "commit", "conflicting_duplicate", "transaction_id", 1),
        ("open", "validate", "missing_side", "side", 1),
    ]
    assert [each["letters"] for each in shelf.counts(Filter(codes=["missing_side"]))] == [1, 1]


def test_one_letter_is_shown_whole(shelf: DeadLetters) -> None:
    """By its id, with its content; None where there is none."""
    (listed,) = shelf.latest(Filter(codes=["conflicting_duplicate"]), 1)
    found = shelf.one(listed["id"])
    assert found is not None
    assert listed.items() <= found.items()
    assert found.keys() - listed.keys() == _CONTENT
    assert found["raw"] == b"record 0"
    assert [found] == list(shelf.every(Filter(codes=["conflicting_duplicate"])))
    assert shelf.one(-1) is None


@pytest.mark.parametrize("form", ["pages", "every"])
def test_no_transaction_is_open_while_letters_are_worked_on(
    shelf: DeadLetters, engine: Engine, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """However long that takes, so that no server ends it; what comes meanwhile is left out."""
    monkeypatch.setattr(lookup, "_PAGE", 1)
    seen: list[str] = []
    open_ones = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
    )
    for each in shelf.pages(Filter()) if form == "pages" else shelf.every(Filter()):
        name = each["transaction_id"]
        seen += name.to_list() if isinstance(name, pl.Series) else [name]
        with engine.connect() as connection:
            assert connection.scalar(open_ones) == 0
        PostgresStore(engine, processing_type="batch").commit(
            outcome([], rejected=["later"], partition=str(len(seen)))
        )
    assert seen == ["x", "y", "a"]


def test_a_page_is_bounded_by_whole_records(shelf: DeadLetters, engine: Engine) -> None:
    """Those that are read again where they come from; one letter is always taken."""
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE dead_letters SET length = 5000000, sha256 = sha256(raw)"
                " WHERE transaction_id IN ('x', 'y')"
            )
        )
    assert [each.height for each in shelf.pages(Filter())] == [1, 2]
    assert [each.height for each in shelf.pages(Filter(), 2)] == [1, 1]
    assert list(shelf.pages(Filter(), 0)) == []
    with engine.begin() as connection:
        connection.execute(text("UPDATE dead_letters SET length = 20000000"))
    assert [each.height for each in shelf.pages(Filter())] == [1, 1, 1]
    selection = PostgresSelection(engine, "r", by="somebody")
    assert selection.claim(Filter(), None, len) == 2
    assert [selection.page(first, 10).height for first in range(3)] == [1, 1, 0]


def test_a_database_that_is_away_is_away() -> None:
    """Every question ends as the errors of the core do, the streamed one too."""
    away = engine_for(PostgresConfig(url=SecretStr("postgresql://somebody@127.0.0.1:1/books")))
    shelf = DeadLetters(away)
    with pytest.raises(Unavailable):
        shelf.counts(Filter())
    with pytest.raises(Unavailable):
        shelf.latest(Filter(), 1)
    with pytest.raises(Unavailable):
        shelf.one(1)
    with pytest.raises(Unavailable):
        list(shelf.every(Filter()))
