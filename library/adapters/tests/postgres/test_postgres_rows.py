"""What stands in the tables after a commit."""

from decimal import ROUND_HALF_UP, Decimal
from itertools import count
from typing import Any

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal
from sqlalchemy import Engine, text

from assay.domain.outcome import CLASSIFIED, Outcome, letters
from assay.domain.reject import LETTERS
from assay.domain.tally import Tally
from assay.testing.frames import outcome, together, transaction, transactions
from assay_adapters.postgres.runs import end_run, start_run
from assay_adapters.postgres.store import PostgresStore

_numbers = count()


def _rows(engine: Engine, query: str) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(text(query)).mappings()]


def _kept(engine: Engine) -> pl.DataFrame:
    rows = _rows(
        engine,
        "SELECT transactions.*, predictions.* FROM transactions JOIN predictions USING (number)",
    )
    schema = {name: dtype for name, dtype in CLASSIFIED.items() if name != "row"}
    return pl.DataFrame(
        [{name: row[name] for name in schema} for row in rows],
        schema=schema | {"confidence": pl.Decimal(5, 4)},
    ).sort("transaction_id")


def _rounded(confidence: float) -> Decimal:
    return Decimal(repr(confidence)).quantize(Decimal("0.0001"), ROUND_HALF_UP)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(transactions(), min_size=1, unique_by=lambda row: row["transaction_id"]))
def test_every_value_comes_back_as_it_went_in(engine: Engine, rows: list[dict[str, Any]]) -> None:
    """Whatever the canonical columns allow; the confidence is rounded to four decimals."""
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE transactions, predictions"))
    given = outcome(rows, partition=f"transactions/{next(_numbers)}")
    store = PostgresStore(engine, processing_type="batch")
    assert store.commit(given).classified == len(rows)
    expected = given.classified.drop("row").with_columns(
        pl.Series(
            "confidence",
            [_rounded(each) for each in given.classified["confidence"]],
            dtype=pl.Decimal(5, 4),
        )
    )
    assert_frame_equal(_kept(engine), expected.sort("transaction_id"))


def test_a_row_says_where_it_comes_from(engine: Engine) -> None:
    """Run, source, partition and position of each transaction; run and its kind of predictions."""
    given = together(outcome(["a"], first=7), outcome(["b"], partition="transactions/1"))
    PostgresStore(engine, processing_type="stream").commit(given)
    assert _rows(
        engine,
        "SELECT transaction_id, ledger.run_id, ledger.source, ledger.partition, position,"
        " shown.run_id AS predicted_by, processing_type FROM transactions JOIN ledger USING (entry)"
        " JOIN transactions_with_predictions AS shown USING (transaction_id, partition, position)"
        " ORDER BY transaction_id",
    ) == [
        {
            "transaction_id": name,
            "run_id": "run-1",
            "source": "files",
            "partition": partition,
            "position": position,
            "predicted_by": "run-1",
            "processing_type": "stream",
        }
        for name, partition, position in [("a", "transactions/0", 7), ("b", "transactions/1", 0)]
    ]


def _mixed() -> Outcome:
    """After `a` is known: a new one, a duplicate, conflicts of three kinds and a reject."""
    return outcome(
        [
            transaction("a", model_version="2", category="Home"),
            transaction("a", description="Another bakery"),
            transaction("b", needs_review=True),
            transaction("b", side="credit"),
            transaction("b"),
        ],
        first=1,
        run="run-2",
        rejected=["c"],
    )


def test_a_duplicate_writes_nothing(engine: Engine) -> None:
    """Neither transaction nor prediction, whatever the model's version; nothing is overwritten."""
    store = PostgresStore(engine, processing_type="batch")
    store.commit(outcome(["a"]))
    before = _kept(engine)
    assert store.commit(_mixed()) == Tally(
        read=6, classified=1, rejected=3, duplicate=2, needs_review=1
    )
    after = _kept(engine)
    assert after["transaction_id"].to_list() == ["a", "b"]
    assert_frame_equal(after.head(1), before)
    assert _rows(engine, "SELECT count(*) AS number FROM predictions") == [{"number": 2}]


def test_a_conflict_becomes_a_letter_like_any_reject(engine: Engine) -> None:
    """With the record's bytes and origin, in the same commit; exactly the rejects have one."""
    store = PostgresStore(engine, processing_type="batch")
    store.commit(outcome(["a"]))
    given = _mixed()
    store.commit(given)
    columns = ", ".join(LETTERS)
    kept = pl.DataFrame(
        _rows(engine, f"SELECT {columns} FROM dead_letters ORDER BY position"),  # noqa: S608 - ours
        schema=LETTERS,
    )
    assert kept.select("position", "code", "stage", "field", "retriable", "raw").rows() == [
        (2, "conflicting_duplicate", "commit", "transaction_id", False, b"record 2"),
        (4, "conflicting_duplicate", "commit", "transaction_id", False, b"record 4"),
        (6, "missing_side", "validate", "side", False, b"record 6"),
    ]
    assert_frame_equal(kept.tail(1), letters(given, given.rejects))


def test_the_ledger_says_what_was_committed(engine: Engine) -> None:
    """One entry per range, with its own counts."""
    store = PostgresStore(engine, processing_type="batch")
    store.commit(
        together(
            outcome(["a"], rejected=["x"], end="finished", accepts_rejects=True),
            outcome(["a", transaction("b", needs_review=True)], partition="transactions/1"),
        )
    )
    assert _rows(
        engine,
        "SELECT partition, first, next, read, classified, rejected, duplicate, needs_review,"
        " run_id, accepts_rejects, end_state FROM ledger ORDER BY partition",
    ) == [
        {
            "partition": partition,
            "first": 0,
            "next": 2,
            "read": 2,
            "classified": 1,
            "rejected": rejected,
            "duplicate": duplicate,
            "needs_review": needs_review,
            "run_id": "run-1",
            "accepts_rejects": True,
            "end_state": end,
        }
        for partition, rejected, duplicate, needs_review, end in [
            ("transactions/0", 1, 0, 0, "finished"),
            ("transactions/1", 0, 1, 1, None),
        ]
    ]


def test_the_views_show_transactions_with_and_without_predictions(engine: Engine) -> None:
    """For people who open psql."""
    PostgresStore(engine, processing_type="batch").commit(
        outcome(["a", "b", transaction("c", side="credit", needs_review=True)])
    )
    with engine.begin() as connection:
        connection.execute(
            text(
                "DELETE FROM predictions USING transactions"
                " WHERE predictions.number = transactions.number AND transaction_id = 'b'"
            )
        )
    assert [row["transaction_id"] for row in _rows(engine, "TABLE unprocessed_transactions")] == [
        "b"
    ]
    both = _rows(engine, "SELECT * FROM transactions_with_predictions ORDER BY transaction_id")
    assert [(row["transaction_id"], row["category"]) for row in both] == [
        ("a", "Food"),
        ("c", "Food"),
    ]
    stats = _rows(engine, "SELECT * FROM transaction_stats ORDER BY side")
    assert [(row["side"], row["transactions"], row["needs_review"]) for row in stats] == [
        ("credit", 1, 1),
        ("debit", 1, 0),
    ]


def test_a_run_is_noted_once(engine: Engine) -> None:
    """Its start may be noted again after a lost answer; its end has a status and a summary."""
    for _ in range(2):
        start_run(engine, "run-1", kind="batch", source="files", version="0.1.0")
    begun = _rows(engine, "TABLE runs")
    assert [(row["run_id"], row["status"], row["ended_at"]) for row in begun] == [
        ("run-1", None, None)
    ]
    end_run(engine, "run-1", status="done", summary={"read": 3})
    (ended,) = _rows(engine, "TABLE runs")
    assert (ended["status"], ended["summary"]) == ("done", {"read": 3})
    assert ended["started_at"] == begun[0]["started_at"] <= ended["ended_at"]
