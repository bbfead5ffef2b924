"""What needs review, what people say of it, and what the views make of that."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine, text

from assay.domain.errors import Unavailable
from assay.testing.frames import outcome, transaction
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.corrections import (
    NoSuchGroup,
    Said,
    correct_groups,
    correct_transaction,
    follow,
    held,
)
from assay_adapters.postgres.review import Review
from assay_adapters.postgres.store import PostgresStore

A, B, C, SURE = "aaaa000000000001", "bbbb000000000002", "cccc000000000003", "dddd000000000004"


def _unsure(name: str, group: str | None, **columns: Any) -> dict[str, Any]:
    told = {"needs_review": True, "feature_hash": group, "confidence": 0.4}
    return transaction(name, **told | columns)


@pytest.fixture
def books(engine: Engine) -> Engine:
    """Three groups that need review, of three, two and one transactions, and one that does not."""
    rows = [
        *(_unsure(f"a{n}", A, description=f"SHOP {n}", merchant="Shop") for n in range(3)),
        *(_unsure(f"b{n}", B, amount=Decimal("99.00"), category="Home") for n in range(2)),
        _unsure("c", C, amount=Decimal("1000.50"), currency="USD"),
        transaction("sure", feature_hash=SURE),
        _unsure("nameless", None),
    ]
    PostgresStore(engine, processing_type="batch").commit(outcome(rows))
    return engine


@pytest.fixture
def review(books: Engine) -> Review:
    """The review of it."""
    return Review(books)


_OLD = """
    FROM predictions JOIN (SELECT number, transaction_id FROM transactions) AS whose USING (number)
    WHERE transaction_id ~ :names AND model_version = '1'
"""


def _again(engine: Engine, names: str, version: str = "2", **columns: str) -> None:
    """A newer version of the model predicts these as well; columns as expressions of SQL."""
    columns = {"category": "category", "needs_review": "false", "feature_hash": "feature_hash"} | (
        columns
    )
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO predictions (number, model_name, model_version, confidence,"
                " processing_type, entry, category, needs_review, feature_hash) SELECT"
                " number, model_name, :version, confidence, 'rescore',"
                " nextval('ledger_entry'), " + ", ".join(columns.values()) + _OLD
            ),
            {"version": version, "names": names},
        )


def _rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def _names(groups: list[dict[str, Any]]) -> list[str]:
    return [each["feature_hash"] for each in groups]


_SHOWN = (
    "SELECT transaction_id, category, predicted, needs_review, corrected_by"
    " FROM transactions_with_predictions WHERE transaction_id IN ('a0', 'a1', 'b0')"
    " ORDER BY transaction_id"
)
_AS_PREDICTED = [
    ("a0", "Food", "Food", True, None),
    ("a1", "Food", "Food", True, None),
    ("b0", "Home", "Home", True, None),
]


def test_the_views_prefer_what_people_say(books: Engine) -> None:
    """At once; a transaction's own correction before that of its group. Withdrawn, the model's."""
    assert _rows(books, _SHOWN) == _AS_PREDICTED
    assert correct_groups(books, {A: Said("Travel")}, by="ann") == 1
    assert correct_transaction(books, "a1", A, Said("Rent", "a flat"), by="bob")
    assert _rows(books, _SHOWN) == [
        ("a0", "Travel", "Food", False, "ann"),
        ("a1", "Rent", "Food", False, "bob"),
        ("b0", "Home", "Home", True, None),
    ]
    dated = "SELECT bool_and((corrected_at IS NULL) = (corrected_by IS NULL)) FROM"
    assert _rows(books, f"{dated} transactions_with_predictions") == [(True,)]
    assert correct_groups(books, {A: Said(None)}, by="ann") == 1
    assert correct_transaction(books, "a1", A, Said(None), by="bob")
    assert _rows(books, _SHOWN) == _AS_PREDICTED
    assert len(_rows(books, "TABLE corrections")) == 4


def test_a_transaction_may_be_corrected_by_itself(books: Engine) -> None:
    """What is said of its group later does not touch it; of the others nothing is said."""
    assert correct_transaction(books, "a1", A, Said("Rent"), by="bob")
    assert _rows(books, _SHOWN)[0] == _AS_PREDICTED[0]
    correct_groups(books, {A: Said("Travel")}, by="ann")
    assert [row[1] for row in _rows(books, _SHOWN)] == ["Travel", "Rent", "Home"]
    correct_transaction(books, "a1", A, Said(None), by="bob")
    assert [row[1] for row in _rows(books, _SHOWN)] == ["Travel", "Travel", "Home"]


def test_the_statistics_count_what_people_say(books: Engine) -> None:
    """Under the corrected category, without review, and how many were corrected."""
    stats = (
        "SELECT category, sum(transactions), sum(needs_review), sum(corrected)"
        " FROM transaction_stats GROUP BY category ORDER BY category"
    )
    assert _rows(books, stats) == [("Food", 6, 5, 0), ("Home", 2, 2, 0)]
    correct_groups(books, {A: Said("Home")}, by="ann")
    correct_transaction(books, "c", C, Said("Rent"), by="ann")
    assert _rows(books, stats) == [("Food", 2, 1, 0), ("Home", 5, 2, 3), ("Rent", 1, 0, 1)]


def test_every_version_s_predictions_are_corrected(books: Engine) -> None:
    """Those that are stored after the correction as well."""
    correct_groups(books, {A: Said("Travel")}, by="ann")
    _again(books, "^a", category="'Shopping'")
    shown = (
        "SELECT model_version, category, predicted FROM transactions_with_predictions"
        " WHERE transaction_id = 'a0' ORDER BY model_version"
    )
    assert _rows(books, shown) == [("1", "Travel", "Food"), ("2", "Travel", "Shopping")]


def test_the_largest_groups_come_first(review: Review) -> None:
    """By their transactions, or by their sum in one currency: unless named, the most frequent."""
    found = review.groups()
    assert _names(found) == [A, B, C]
    assert found[0] == {
        "feature_hash": A,
        "transactions": 3,
        "amounts": {"EUR": "37.50"},
        "category": "Food",
        "confidence": 0.4,
        "description": "SHOP 0",
        "merchant": "Shop",
        "groups": 3,
        "waiting": 6,
        "measure": "EUR",
    }
    assert _names(review.groups(by_amount=True)) == [B, A, C]
    assert _names(review.groups(by_amount=True, currency="USD")) == [C, A, B]
    (one,) = review.groups(limit=1)
    assert (one["groups"], one["waiting"]) == (3, 6)


def test_groups_are_chosen(review: Review) -> None:
    """By what the model took them for, and by the model's name or version."""
    assert _names(review.groups(category="Home")) == [B]
    assert _names(review.groups(model="linear")) == _names(review.groups(model="1")) == [A, B, C]
    assert review.groups(model="2") == []


def test_the_newest_prediction_counts(books: Engine, review: Review) -> None:
    """What a newer version is sure of needs no review; an older one's is shown when asked for."""
    _again(books, "^(a0|b)")
    _again(books, "^c", needs_review="true", feature_hash=f"'{C[::-1]}'")
    found = review.groups()
    assert [(each["feature_hash"], each["transactions"]) for each in found] == [
        (A, 2),
        (C[::-1], 1),
    ]
    assert _names(review.groups(model="1")) == [A, B, C]


def test_what_was_corrected_is_not_listed(books: Engine, review: Review) -> None:
    """Until it is withdrawn."""
    correct_groups(books, {A: Said("Travel")}, by="ann")
    correct_transaction(books, "b0", B, Said("Travel"), by="ann")
    assert [(each["feature_hash"], each["transactions"]) for each in review.groups()] == [
        (B, 1),
        (C, 1),
    ]
    correct_groups(books, {A: Said(None)}, by="ann")
    assert _names(review.groups()) == [A, B, C]


def test_what_stands_so_already_is_not_noted_again(books: Engine) -> None:
    """Neither a correction that holds, nor the withdrawal of none; of two at once, one is noted."""
    with ThreadPoolExecutor(2) as pool:
        one, other = (
            pool.submit(correct_groups, books, {A: Said("Travel")}, by=by) for by in ("ann", "bob")
        )
    assert one.result() + other.result() == 1
    assert correct_groups(books, {A: Said("Travel", "again"), B: Said(None)}, by="ann") == 0
    assert not correct_transaction(books, "b0", B, Said(None), by="ann")
    assert len(_rows(books, "TABLE corrections")) == 1


def test_what_people_say_is_kept_with_who_and_from_what(books: Engine, review: Review) -> None:
    """The latest first; what stood before is the model's category, or the correction's."""
    correct_groups(books, {A: Said("Travel", "a hotel")}, by="ann")
    correct_transaction(books, "a0", A, Said("Rent"), by="bob")
    correct_groups(books, {A: Said(None), B: Said("Food")}, by="cat")
    told = [
        tuple(
            each[name] for name in ("by", "feature_hash", "transaction_id", "previous", "category")
        )
        for each in review.history(None, 10)
    ]
    assert sorted(told[:2]) == [
        ("cat", A, None, "Travel", None),
        ("cat", B, None, "Home", "Food"),
    ]
    assert told[2:] == [
        ("bob", None, "a0", "Travel", "Rent"),
        ("ann", A, None, "Food", "Travel"),
    ]
    assert [each["by"] for each in review.history(A, 2)] == ["cat", "bob"]
    first = review.history(A, 9)[-1]
    assert (first["reason"], first["description"], first["merchant"]) == (
        "a hotel",
        "SHOP 0",
        "Shop",
    )


def test_of_several_groups_all_are_noted_or_none(books: Engine) -> None:
    """One that is not there is named; so is a transaction that is of another group."""
    with pytest.raises(NoSuchGroup, match="no group eeee"):
        correct_groups(books, {A: Said("Travel"), "eeee": Said("Food")}, by="ann")
    for name, group in (("b0", A), ("gone", A), ("nameless", A)):
        with pytest.raises(NoSuchGroup, match=f"no transaction {name} in the group {A}"):
            correct_transaction(books, name, group, Said("Food"), by="ann")
    assert _rows(books, "TABLE corrections") == []


def test_a_group_that_needs_no_review_can_be_corrected(books: Engine, review: Review) -> None:
    """The model may be sure, and wrong."""
    assert correct_groups(books, {SURE: Said("Travel")}, by="ann") == 1
    correction = review.correction(SURE)
    assert correction is not None
    assert (correction["category"], correction["by"]) == ("Travel", "ann")
    assert review.correction(A) is None


def test_groups_are_found_by_how_their_names_begin(review: Review) -> None:
    """Those that need review first; others only where there are none."""
    assert review.find("aaaa") == [A]
    assert review.find("dddd") == [SURE]
    assert review.find("eeee") == []
    assert review.find(A) == [A]
    assert review.missing([A, SURE, "aaaa", "eeee"]) == {"aaaa", "eeee"}
    assert review.missing([]) == set()


def test_a_group_is_shown_with_all_its_transactions(books: Engine, review: Review) -> None:
    """Each once, however many versions have predicted it."""
    _again(books, "^a", category="'Shopping'")
    correct_transaction(books, "a1", A, Said("Rent"), by="ann")
    assert [
        (each["model_version"], each["category"], each["transactions"], each["needs_review"])
        for each in review.predicted(A)
    ] == [("2", "Shopping", 3, 0), ("1", "Food", 3, 3)]
    assert review.sums(A) == [
        {"currency": "EUR", "side": "debit", "transactions": 3, "amount": Decimal("37.50")}
    ]
    latest = review.latest(A, 2)
    assert [(each["transaction_id"], each["corrected"]) for each in latest] == [
        ("a0", None),
        ("a1", "Rent"),
    ]


def test_corrections_hold_under_the_names_of_newer_versions(books: Engine, review: Review) -> None:
    """Where a version that normalises otherwise names descriptors anew, until it is withdrawn."""
    correct_groups(books, {A: Said("Travel", "a hotel")}, by="ann")
    new = "a" * 16
    _again(books, "^a", category="'Home'", needs_review="true", feature_hash=f"'{new}'")
    follow(books)
    follow(books)
    shown = "SELECT DISTINCT category, corrected_by FROM transactions_with_predictions WHERE"
    assert _rows(books, f"{shown} transaction_id ~ '^a'") == [("Travel", "ann")]
    assert A not in _names(review.groups())
    assert new not in _names(review.groups())
    with held(books) as corrections:
        assert corrections.height == 1
    assert correct_groups(books, {new: Said("Travel")}, by="bob") == 0
    assert correct_groups(books, {new: Said(None)}, by="bob") == 1
    assert review.correction(A) is review.correction(new) is None
    with held(books) as corrections:
        assert corrections.is_empty()
    follow(books)
    assert review.correction(new) is None


def test_each_transaction_has_the_category_that_holds(books: Engine) -> None:
    """One row for each: of its own, else of its group, else what the model has said last."""
    asked = (
        "SELECT transaction_id, category, predicted, model_version, needs_review, corrected_by"
        " FROM transactions_with_category WHERE transaction_id ~ '^[abc]' ORDER BY 1"
    )
    _again(books, "^[ab]", category="'Home'", needs_review="true")
    _again(books, "^c", version="3", category="'Rent'", feature_hash="'new'")
    _again(books, "^c", version="2", category="'Salary Income'")
    correct_groups(books, {A: Said("Travel")}, by="ann")
    correct_transaction(books, "a1", A, Said("Rent"), by="bob")
    assert _rows(books, asked) == [
        ("a0", "Travel", "Home", "2", False, "ann"),
        ("a1", "Rent", "Home", "2", False, "bob"),
        ("a2", "Travel", "Home", "2", False, "ann"),
        ("b0", "Home", "Home", "2", True, None),
        ("b1", "Home", "Home", "2", True, None),
        ("c", "Salary Income", "Salary Income", "2", False, None),
    ]
    latest = (
        "SELECT DISTINCT category FROM latest_predictions JOIN transactions USING (number)"
        " WHERE transaction_id ~ '^a'"
    )
    assert _rows(books, latest) == [("Home",)]
    with books.begin() as connection:
        connection.execute(
            text(
                "DELETE FROM predictions USING transactions"
                " WHERE predictions.number = transactions.number AND transaction_id ~ '^[ab]'"
            )
        )
    assert [row[:2] for row in _rows(books, asked)] == [
        ("a0", None),
        ("a1", "Rent"),
        ("a2", None),
        ("b0", None),
        ("b1", None),
        ("c", "Salary Income"),
    ]
    every = "SELECT count(*) FROM transactions_with_category"
    assert _rows(books, every) == _rows(books, "SELECT count(*) FROM transactions")


def test_every_correction_lets_older_ones_follow(books: Engine, review: Review) -> None:
    """So that nobody has to think of it."""
    correct_groups(books, {A: Said("Travel")}, by="ann")
    new = "a" * 16
    _again(books, "^a", feature_hash=f"'{new}'")
    assert review.correction(new) is None
    assert correct_groups(books, {B: Said("Rent")}, by="bob") == 1
    correction = review.correction(new)
    assert correction is not None
    assert (correction["category"], correction["by"]) == ("Travel", "ann")


def test_what_is_said_of_a_newer_name_goes_before_an_older_correction(
    books: Engine, review: Review
) -> None:
    """Following an older one takes nothing back."""
    correct_groups(books, {A: Said("Travel")}, by="ann")
    _again(books, "^c", feature_hash="'eeee000000000005'")
    correct_groups(books, {"eeee000000000005": Said("Rent")}, by="bob")
    _again(books, "^a", version="3", feature_hash="'eeee000000000005'")
    follow(books)
    correction = review.correction("eeee000000000005")
    assert correction is not None
    assert correction["category"] == "Rent"


def test_what_holds_is_published(books: Engine) -> None:
    """Of groups, not of single transactions; not what was withdrawn, and of several the latest."""
    correct_groups(books, {A: Said("Travel"), B: Said("Food"), SURE: Said("Home")}, by="ann")
    correct_groups(books, {A: Said("Rent"), B: Said(None)}, by="bob")
    correct_transaction(books, "c", C, Said("Food"), by="ann")
    with held(books) as corrections:
        told = corrections.sort("category").drop("at").rows()
    assert told == [("Bakery sure", None, "Home"), ("SHOP 0", "Shop", "Rent")]


def test_nobody_corrects_while_it_is_published(books: Engine, migrated: PostgresConfig) -> None:
    """So that nothing older is published over something newer; afterwards it goes on."""
    hasty = engine_for(migrated.model_copy(update={"lock_timeout": 0.05}))
    with held(books):
        with pytest.raises(Unavailable):
            correct_groups(hasty, {A: Said("Travel")}, by="ann")
        with pytest.raises(Unavailable), held(hasty):
            pass
    assert correct_groups(hasty, {A: Said("Travel")}, by="ann") == 1
    hasty.dispose()


def test_a_database_that_is_away_is_away() -> None:
    """Every question and every correction ends as the errors of the core do."""
    away = engine_for(PostgresConfig(url=SecretStr("postgresql://somebody@127.0.0.1:1/books")))
    review = Review(away)
    calls: list[Callable[[], object]] = [
        review.groups,
        lambda: review.find("aaaa"),
        lambda: review.history(None, 1),
        lambda: correct_groups(away, {A: Said("Food")}, by="ann"),
        lambda: correct_transaction(away, "a", A, Said("Food"), by="ann"),
        lambda: follow(away),
        lambda: held(away).__enter__(),
    ]
    for call in calls:
        with pytest.raises(Unavailable):
            call()
