"""Invented outcomes, and Hypothesis strategies for them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl
from hypothesis import strategies as st

from assay.domain.chunk import RECORDS
from assay.domain.identity import content_hash
from assay.domain.outcome import CLASSIFIED, Outcome
from assay.domain.position import End, Partition, Range
from assay.domain.prediction import NAME
from assay.domain.reject import REJECTS, faults, no_rejects
from assay.domain.rules import CURRENCIES, OPERATION_TYPES, SIDES

_MOMENT: Final = datetime(2024, 1, 2, 10, 11, 12, tzinfo=UTC)


def transaction(transaction_id: str, **columns: Any) -> dict[str, Any]:
    """One row of `CLASSIFIED` without `row` and `content_hash`; columns may be given."""
    return {
        "transaction_id": transaction_id,
        "description": f"Bakery {transaction_id}",
        "amount": Decimal("12.50"),
        "currency": "EUR",
        "timestamp": _MOMENT,
        "merchant": None,
        "operation_type": "payment",
        "side": "debit",
        "mcc": None,
        "category": "Food",
        "confidence": 0.75,
        "needs_review": False,
        "model_name": "linear",
        "model_version": "1",
        "feature_hash": None,
    } | columns


def outcome(
    rows: Sequence[str | Mapping[str, Any]],
    *,
    first: int = 0,
    run: str = "run-1",
    source: str = "files",
    partition: Partition = "transactions/0",
    rejected: Sequence[str | None] = (),
    end: End | None = None,
    destination: str = "memory:errors",
    accepts_rejects: bool = False,
) -> Outcome:
    """An outcome of one range: some transactions, and after them some rejects.

    Args:
        rows: the classified ones: ids, or what `transaction` gives.
        first: the range's first position; each record takes one position.
        run: the run's id.
        source: the range's source.
        partition: the range's partition.
        rejected: the rejects, by what is known of their ids.
        end: whether, and how, the partition ends with it.
        destination: where relays publish the rejects.
        accepts_rejects: whether the run's reject limit was raised.
    """
    height = len(rows) + len(rejected)
    given = [transaction(row) if isinstance(row, str) else row for row in rows]
    classified = pl.DataFrame(
        given, schema={name: CLASSIFIED[name] for name in CLASSIFIED if name not in _ADDED}
    ).with_row_index("row")
    rejects = pl.DataFrame(
        {
            "row": range(len(rows), height),
            "transaction_id": list(rejected),
            "code": "missing_side",
            "field": "side",
            "message": "side is missing",
        },
        schema_overrides={"row": pl.UInt32, "transaction_id": pl.String},
    )
    return Outcome(
        run_id=run,
        source=source,
        ranges=(Range(partition, first, first + height, height, end),),
        records=records(height, first=first, partition=partition),
        classified=classified.with_columns(content_hash(classified)).select(CLASSIFIED.names()),
        rejects=faults(rejects, stage="validate") if rejected else no_rejects(),
        destination=destination,
        headers={partition: b"id;side"},
        accepts_rejects=accepts_rejects,
    )


_ADDED: Final = ("row", "content_hash")


def records(
    height: int, *, first: int = 0, partition: Partition = "transactions/0"
) -> pl.DataFrame:
    """Records at consecutive positions of one partition, shaped as `RECORDS`."""
    positions = range(first, first + height)
    return pl.DataFrame(
        {
            "partition": [partition] * height,
            "position": positions,
            "key": [None] * height,
            "raw": [f"record {each}".encode() for each in positions],
            "length": [len(f"record {each}") for each in positions],
            "sha256": [None] * height,
            "occurrence": [None] * height,
            "fault": [None] * height,
        },
        schema=RECORDS,
    )


def together(*outcomes: Outcome) -> Outcome:
    """One outcome with the ranges of several, which are of one run and different partitions."""
    shifts = [
        sum(each.records.height for each in outcomes[:index]) for index in range(len(outcomes))
    ]

    def shifted(frames: Sequence[pl.DataFrame], schema: pl.Schema) -> pl.DataFrame:
        return pl.concat(
            frame.with_columns(pl.col("row") + shift)
            for frame, shift in zip(frames, shifts, strict=True)
        ).cast(schema)

    first = outcomes[0]
    return Outcome(
        run_id=first.run_id,
        source=first.source,
        destination=first.destination,
        ranges=tuple(each for one in outcomes for each in one.ranges),
        records=pl.concat(each.records for each in outcomes),
        classified=shifted([each.classified for each in outcomes], CLASSIFIED),
        rejects=shifted([each.rejects for each in outcomes], REJECTS),
        headers={key: value for one in outcomes for key, value in one.headers.items()},
        accepts_rejects=first.accepts_rejects,
    )


_AWKWARD: Final = (
    "\\N",
    "NULL",
    "null",
    "\\.",
    "a\n\\.\nb",
    '"',
    '""',
    "'",
    "\\",
    "\\x00",
    ",",
    ";",
    "\t",
    "a\nb",
    "a\r\nb",
    "\r",
    " ",
    "  padded  ",
    "{}",
    "%s",
    "\ufeff",
    "\u2028",
    "☕ 👩\u200d🚀",
    "مقهى",
    "\uff21",
)


def texts(limit: int) -> st.SearchStrategy[str]:
    """Text that the canonical transaction allows in a free column, awkward ones often."""
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
    return st.sampled_from(_AWKWARD) | st.text(characters, min_size=1, max_size=limit)


def ids() -> st.SearchStrategy[str]:
    """Ids that the canonical transaction allows, awkward ones often."""
    printable = st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Zs"])
    awkward = [text for text in _AWKWARD if text.isprintable() and text == text.strip()]
    return st.sampled_from(awkward) | st.text(printable, min_size=1, max_size=20)


def transactions(
    transaction_ids: st.SearchStrategy[str] | None = None,
) -> st.SearchStrategy[dict[str, Any]]:
    """Rows as `transaction` gives them, over the whole of what the canonical columns allow."""
    microseconds = (datetime(9999, 12, 31, tzinfo=UTC) - datetime(1, 1, 1, tzinfo=UTC)).days * (
        86_400_000_000
    )
    return st.fixed_dictionaries(
        {
            "transaction_id": transaction_ids or ids(),
            "description": texts(40),
            "amount": st.decimals(0, Decimal("9999999999999999.99"), places=2),
            "currency": st.sampled_from(sorted(CURRENCIES)),
            "timestamp": st.integers(0, microseconds).map(
                lambda offset: datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=offset)
            ),
            "merchant": st.none() | texts(20),
            "operation_type": st.sampled_from(OPERATION_TYPES),
            "side": st.sampled_from(SIDES),
            "mcc": st.none() | st.from_regex(r"\A[0-9]{4}\Z"),
            "category": st.sampled_from(["Food", "Government & Taxes"]),
            "confidence": st.floats(0, 1),
            "needs_review": st.booleans(),
            "model_name": st.just("linear"),
            "model_version": st.sampled_from(["1", "2"]),
            "feature_hash": st.none() | st.from_regex(NAME, fullmatch=True),
        }
    )
