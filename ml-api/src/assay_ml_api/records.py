"""A JSON list of records, sorted into transactions and rejects."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeGuard, cast

import polars as pl
from pydantic import ValidationError

from assay.domain.reject import REJECTS, faults
from assay.domain.rules import COLUMNS
from assay.domain.transaction import TRANSACTIONS, Transaction, digits, first_fault, split

FEW: Final = 300
"""Up to about this length checking one by one costs less than setting up columns."""

NOT_PLAIN: Final = (AttributeError, TypeError, UnicodeEncodeError)
"""What records end with that are no objects, or whose values are no text."""

_PLAIN: Final = {str, type(None)}

_FIRST: Final = datetime(1, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
_RFC_3339: Final = "%Y-%m-%dT%H:%M:%S.%6fZ"
_TEXT: Final = pl.Schema(dict.fromkeys(COLUMNS, pl.String()))


def sort(
    records: Sequence[object], currency: str, few: int = FEW
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Holds each record against the rules, all at once where their types are as usual.

    Args:
        records: as `assay.wire.json.loads` reads them; `id` is another name of `transaction_id`.
        currency: of those that name none.
        few: lists up to this length are checked one by one.

    Returns:
        Those that pass, shaped as `TRANSACTIONS`, and the others, shaped as `REJECTS`; `row` is
        the place in the list. Together they hold each record once.
    """
    if len(records) <= few:
        return _one_by_one(records, range(len(records)), currency)
    try:
        frame = _columns(cast(Sequence[dict[str, Any]], records), currency)
    except NOT_PLAIN:
        odd = [row for row, record in enumerate(records) if not _is_plain(record)]
    else:
        return split(frame.with_row_index("row"))
    plain = sorted(set(range(len(records))).difference(odd))
    chosen = cast(Sequence[dict[str, Any]], [records[row] for row in plain])
    good, bad = split(
        _columns(chosen, currency).with_columns(pl.Series("row", plain, dtype=pl.UInt32))
    )
    more, worse = _one_by_one([records[row] for row in odd], odd, currency)
    return pl.concat([good, more]).sort("row"), pl.concat([bad, worse]).sort("row")


def sort_columns(transactions: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Holds rows that came in columns against the same rules.

    Args:
        transactions: the canonical columns, of their types.

    Returns:
        As `sort`.
    """
    moment = pl.col("timestamp")
    within = moment.is_between(_FIRST, _LAST)
    if not transactions.select((within & (pl.col("amount") >= 0)).all()).item():
        # What the types admit and the rules do not is judged as text.
        transactions = transactions.with_columns(
            pl.col("amount").cast(pl.String),
            pl.when(within).then(moment).dt.strftime(_RFC_3339).alias("timestamp"),
            pl.when(moment.is_not_null() & ~within)
            .then(pl.lit("no year of four digits"))
            .alias("odd"),
        ).with_columns(pl.coalesce("timestamp", "odd"))
    return split(transactions.with_row_index("row").select("row", *COLUMNS))


def _columns(records: Sequence[dict[str, Any]], currency: str) -> pl.DataFrame:
    """The canonical columns as text.

    Raises:
        Exception: one of `NOT_PLAIN`, where a record is not plain.
    """
    values = {name: [record.get(name) for record in records] for name in COLUMNS}
    values["transaction_id"] = [
        record["transaction_id"] if "transaction_id" in record else record.get("id")
        for record in records
    ]
    values["amount"] = [
        amount if isinstance(amount, str) else _amount(amount) for amount in values["amount"]
    ]
    # polars does worse than raise where it meets some other types.
    if not all(_PLAIN.issuperset(map(type, column)) for column in values.values()):
        raise TypeError("a value is no text")
    frame = pl.DataFrame(values, schema=_TEXT, strict=True)
    return frame.with_columns(
        pl.when(pl.col("currency") != "").then("currency").fill_null(pl.lit(currency))
    )


def _amount(value: object) -> object:
    """A number as text, all else as it is."""
    return digits(cast(Decimal | int, value)) if type(value) in {int, Decimal} else value


def _is_plain(record: object) -> TypeGuard[dict[str, Any]]:
    try:
        _columns([cast(dict[str, Any], record)], "EUR")
    except NOT_PLAIN:
        return False
    return True


def _one_by_one(
    records: Sequence[object], rows: Sequence[int], currency: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    good: list[dict[str, object]] = []
    bad: list[dict[str, object]] = []
    for row, record in zip(rows, records, strict=True):
        if not isinstance(record, dict):
            message = "the record is not an object"
            bad.append({"row": row, "code": "invalid_record", "message": message})
            continue
        given = cast(dict[str, Any], record)
        try:
            transaction = Transaction.model_validate(_with_currency(given, currency))
        except ValidationError as error:
            code, field, message = first_fault(error)
            fault = {"code": code, "field": field, "message": message}
            bad.append({"row": row, "transaction_id": _known_id(given), **fault})
        else:
            good.append({"row": row, **transaction.model_dump()})
    schema = {name: REJECTS[name] for name in ("row", "transaction_id", "code", "field", "message")}
    return (
        pl.DataFrame(good, schema=TRANSACTIONS),
        faults(pl.DataFrame(bad, schema=schema), stage="validate"),
    )


def _with_currency(record: dict[str, Any], currency: str) -> dict[str, Any]:
    given = record.get("currency")
    return record | {"currency": currency} if given is None or given == "" else record


def _known_id(record: dict[str, Any]) -> str | None:
    value = record.get("transaction_id", record.get("id"))
    if not isinstance(value, str) or any("\ud800" <= each <= "\udfff" for each in value):
        return None
    return value or None
