"""What changes between two models, counted."""

import dataclasses
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from assay.domain.taxonomy import Taxonomy
from assay_model.artifact import Artifact
from assay_model.compare import COMPARED, Comparison, categories, changes, compared, moves
from assay_model.predict import Model

FOOD, HOME, TAXI = "Food", "Home", "Transportation"


def row(before: str, after: str, amount: str | None = "1.00", **columns: Any) -> dict[str, Any]:
    """One record; the rest as if nothing were special."""
    return {
        "before": before,
        "after": after,
        "review_before": False,
        "review_after": False,
        "currency": "EUR",
        "group": f"{before}{after}",
        "descriptor": f"{before} {after}".lower(),
        "records": 1,
        "amount": None if amount is None else Decimal(amount),
        "confidence_before": 0.75,
        "confidence_after": 0.5,
        "right_before": 0,
        "right_after": 0,
    } | columns


ROWS = pl.DataFrame(
    [
        row(FOOD, HOME, "10.00", right_before=1),
        row(FOOD, HOME, "5.50", confidence_before=0.25, review_before=True),
        row(FOOD, HOME, "7.00", currency="USD", right_after=1),
        row(HOME, FOOD, "2.00", review_after=True),
        row(HOME, TAXI, None, currency=None),
        row(FOOD, FOOD, "100.00", review_after=True, right_before=1, right_after=1),
        row(TAXI, TAXI, "1.25", currency="USD", review_before=True, review_after=True),
    ],
    schema=COMPARED,
)


def counted(rows: pl.DataFrame = ROWS, size: int = 100, most: int = 100) -> Comparison:
    """A comparison of these, so many rows at a time."""
    comparison = Comparison(groups=True, most=most)
    for some in rows.iter_slices(size):
        comparison.add(some)
    return comparison


def test_what_moves_is_counted_by_currency() -> None:
    """All, what changes its category, and what moves into and out of review."""
    told = moves(counted().cells)
    assert told.filter(pl.col("records") > 0).rows() == [
        ("EUR", "all", 4, Decimal("117.50")),
        ("EUR", "another category", 3, Decimal("17.50")),
        ("EUR", "into review", 2, Decimal("102.00")),
        ("EUR", "out of review", 1, Decimal("5.50")),
        ("USD", "all", 2, Decimal("8.25")),
        ("USD", "another category", 1, Decimal("7.00")),
        (None, "all", 1, None),
        (None, "another category", 1, None),
    ]
    assert told.height == 3 * 4


def test_changes_stand_by_from_and_to() -> None:
    """The most records first, with amounts by currency, mean confidences and who is right."""
    first, *rest = changes(counted().cells).to_dicts()
    assert (first["before"], first["after"], first["records"]) == (FOOD, HOME, 3)
    assert first["amounts"] == [
        {"currency": "EUR", "amount": Decimal("15.50")},
        {"currency": "USD", "amount": Decimal("7.00")},
    ]
    assert first["confidence_before"] == pytest.approx((0.75 + 0.25 + 0.75) / 3)
    assert first["confidence_after"] == 0.5
    assert (first["right_before"], first["right_after"]) == (1, 1)
    assert [(each["before"], each["after"], each["amounts"]) for each in rest] == [
        (HOME, FOOD, [{"currency": "EUR", "amount": Decimal("2.00")}]),
        (HOME, TAXI, []),
    ]


def test_categories_before_and_after() -> None:
    """In the order that is asked for, those without a record left out."""
    told = categories(counted().cells, ("Nothing", TAXI, FOOD, HOME)).to_dicts()
    assert [(each["category"], each["before"], each["after"]) for each in told] == [
        (TAXI, 1, 2),
        (FOOD, 4, 2),
        (HOME, 2, 3),
    ]
    assert told[1]["amounts"] == [
        {"currency": "EUR", "before": Decimal("115.50"), "after": Decimal("102.00")},
        {"currency": "USD", "before": Decimal("7.00"), "after": Decimal("0.00")},
    ]
    assert told[0]["amounts"] == [
        {"currency": "USD", "before": Decimal("1.25"), "after": Decimal("1.25")}
    ]


def test_descriptors_that_change_stand_for_themselves() -> None:
    """The most records first; those that do not change are not kept."""
    rows = ROWS.with_columns(
        group=pl.Series(["a", "b", "a", "c", "d", "e", "f"]),
        descriptor=pl.Series(["A", "B", "A", "C", "D", None, None]),
    )
    told = changes(counted(rows).groups, by_group=True)
    assert told.select("group", "descriptor", "records").rows() == [
        ("a", "A", 2),
        ("b", "B", 1),
        ("c", "C", 1),
        ("d", "D", 1),
    ]
    assert told["amounts"][0].to_list() == [
        {"currency": "EUR", "amount": Decimal("10.00")},
        {"currency": "USD", "amount": Decimal("7.00")},
    ]
    nothing_kept = Comparison(groups=False)
    nothing_kept.add(rows)
    assert nothing_kept.groups.is_empty()
    assert nothing_kept.let_go == 0


@pytest.mark.parametrize("size", [1, 2, 3])
def test_slices_change_nothing(size: int) -> None:
    """However the records come."""
    whole, sliced = counted(), counted(size=size)
    for told in (moves, changes):
        assert told(sliced.cells).equals(told(whole.cells))
    assert changes(sliced.groups, by_group=True).equals(changes(whole.groups, by_group=True))


def test_descriptors_beyond_the_most_are_let_go() -> None:
    """Those of the fewest records, and how many records that were is known."""
    rows = pl.concat([ROWS, ROWS.head(1)])
    comparison = counted(rows, most=1)
    assert comparison.groups.select("before", "after", "records").rows() == [(FOOD, HOME, 2)]
    assert comparison.let_go == 4
    assert changes(comparison.cells)["records"].sum() == 6


def test_nothing_is_nothing() -> None:
    """Without a record all tables are empty."""
    cells = Comparison(groups=True).cells
    assert moves(cells).is_empty()
    assert changes(cells).is_empty()
    assert categories(cells, (FOOD,)).is_empty()


def other(artifact: Artifact, names: tuple[str, ...], review_below: float = 0.0) -> Model:
    """The small model with other names for its categories."""
    renamed = dataclasses.replace(
        artifact, taxonomy=Taxonomy("other", "2", names), fields={}, review_below=review_below
    )
    return Model.of(renamed)


def test_both_models_are_asked(artifact: Artifact) -> None:
    """Each says what it says by itself; categories are the same by name, in any order."""
    before = Model.of(artifact)
    after = other(artifact, (FOOD, "Nothing", "Rides", HOME), review_below=1.1)
    rows = pl.DataFrame(
        {
            "description": ["City Taxi 4711", "CITY TAXI", "OAK FURNITURE", "Corner-Bakery"],
            "merchant": [None, None, None, "Corner"],
            "amount": ["-3.50", "2.00", None, "1"],
            "currency": ["EUR"] * 4,
            "category": [TAXI, "Rides", HOME, FOOD],
        }
    )
    told = compared(before, after, rows, descriptors=True)
    assert told.schema == COMPARED
    assert told["before"].to_list() == [TAXI, TAXI, HOME, FOOD]
    assert told["after"].to_list() == ["Rides", "Rides", HOME, "Nothing"]
    assert told["descriptor"].to_list() == ["city taxi #", "city taxi", None, "corner bakery"]
    assert told["amount"].to_list() == [Decimal("3.50"), Decimal("2.00"), None, Decimal("1.00")]
    assert told["right_before"].to_list() == [1, 0, 1, 1]
    assert told["right_after"].to_list() == [0, 1, 1, 0]
    assert told["group"].equals(before.predict(rows)["feature_hash"].alias("group"))
    assert told["confidence_after"].equals(
        after.predict(rows)["confidence"].alias("confidence_after")
    )
    assert told["review_after"].all()


def test_bare_descriptions_are_enough(artifact: Artifact) -> None:
    """Without amounts, truths or descriptors; and there may be no record at all."""
    after = other(artifact, ("Nothing", HOME, TAXI, FOOD))
    taxis = pl.DataFrame({"description": ["CITY TAXI", "CITY TAXI 4711"]})
    told = compared(Model.of(artifact), after, taxis)
    assert (
        told.drop("confidence_before", "confidence_after", "group", "review_before").rows()
        == [(TAXI, TAXI, False, None, None, 1, None, 0, 0)] * 2
    )
    none = pl.DataFrame({"description": []}, schema={"description": pl.String})
    assert compared(Model.of(artifact), after, none, descriptors=True).is_empty()
