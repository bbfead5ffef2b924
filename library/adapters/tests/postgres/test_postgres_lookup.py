"""Dead letters as people look them up."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from assay.testing.frames import outcome, transaction
from assay_adapters.postgres.lookup import LISTED, Which, letter, letter_counts, letters_table
from assay_adapters.postgres.store import PostgresStore

_DAY = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture
def shelf(engine: Engine) -> Engine:
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
            text("UPDATE dead_letters SET state = 'closed' WHERE transaction_id = 'y'")
        )
    return engine


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        (Which(), ["a", "y", "x"]),
        (Which(code="missing_side"), ["y", "x"]),
        (Which(stage="commit"), ["a"]),
        (Which(run_id="run-2"), ["a"]),
        (Which(source="files"), ["y", "x"]),
        (Which(source="files", state="open"), ["x"]),
        (Which(state="closed"), ["y"]),
        (Which(since=_DAY + timedelta(days=2)), ["a", "y"]),
        (Which(until=_DAY + timedelta(days=2)), ["x"]),
        (Which(source="topic", stage="validate"), []),
    ],
)
def test_letters_are_found_by_what_is_known_of_them(
    shelf: Engine, which: Which, ids: list[str]
) -> None:
    """The latest first; all of what is given must hold."""
    found = letters_table(shelf, which, limit=10)
    assert found.schema == LISTED
    assert found["transaction_id"].to_list() == ids


def test_no_more_letters_than_asked_for(shelf: Engine) -> None:
    """The latest ones."""
    assert letters_table(shelf, Which(), limit=2)["transaction_id"].to_list() == ["a", "y"]


def test_letters_are_counted_by_code(shelf: Engine) -> None:
    """The most frequent code first."""
    assert letter_counts(shelf, Which()).rows() == [
        ("validate", "missing_side", 2),
        ("commit", "conflicting_duplicate", 1),
    ]
    assert letter_counts(shelf, Which(run_id="run-2"))["letters"].to_list() == [1]


def test_one_letter_is_shown_whole(shelf: Engine) -> None:
    """By its id; None where there is none."""
    listed = letters_table(shelf, Which(code="conflicting_duplicate"), limit=1)
    found = letter(shelf, listed["id"].item())
    assert found == listed.row(0, named=True)
    assert found is not None
    assert found["raw"] == b"record 0"
    assert letter(shelf, -1) is None
