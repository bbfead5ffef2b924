"""The canonical transaction, checked in frames and in JSON bodies by one table of rules.

A record gets the same verdict, code and field whether it came in a frame or in a JSON body.
"""

from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Final, Literal, LiteralString, cast

import polars as pl
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from assay.domain.reject import faults
from assay.domain.rules import COLUMNS, MISSING, RULES, SIGN, Fault, Value

TRANSACTIONS: Final = pl.Schema({"row": pl.UInt32} | {rule.column: rule.dtype for rule in RULES})
"""A frame of transactions: the row of each record in its chunk, and its canonical columns."""


_LONGEST: Final = 1_000


def split(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Holds every row against the rules, all columns at once.

    Args:
        frame: `row`, and the canonical columns as text or of their canonical type already.

    Returns:
        Those that pass, shaped as `TRANSACTIONS`, and the others, shaped as `REJECTS`, with the
        code of the first fault in the order of the rules. Together they hold each row once.
    """
    text = tuple(column for column in COLUMNS if frame.schema[column] == pl.String)
    frame = frame.with_columns(pl.when(pl.col(text) != "").then(pl.col(text)))
    first, converted, names = _judgement(text)
    # In one lazy step, so that what judging and converting share is computed once.
    judged = frame.lazy().with_columns(first.alias("fault"), **converted).collect()
    good = judged.filter(pl.col("fault").is_null()).select(
        "row",
        *(
            pl.col(f"{name} converted" if name in text else name)
            .cast(TRANSACTIONS[name])
            .alias(name)
            for name in COLUMNS
        ),
    )
    bad = judged.filter(pl.col("fault").is_not_null())
    rejects = bad.select("row", "transaction_id", "fault").join(
        names, on="fault", how="left", maintain_order="left"
    )
    return good, faults(rejects, stage="validate")


@cache  # of a frame with few rows it would take longer to compose this than to compute it
def _judgement(text: tuple[str, ...]) -> tuple[pl.Expr, dict[str, pl.Expr], pl.DataFrame]:
    """The number of a row's first fault, the converted columns, and what each number stands for.

    Args:
        text: the columns that come as text.
    """
    found: list[tuple[str, Fault, pl.Expr]] = []
    for rule, missing in zip(RULES, MISSING, strict=True):
        column = pl.col(rule.column)
        if rule.required:
            found.append((rule.column, missing, column.is_null()))
        if rule.column in text:
            found.extend(
                (rule.column, each, column.is_not_null() & each.in_column(column))
                for each in rule.faults
            )
    if "amount" in text:
        found.append(("amount", SIGN, SIGN.in_column(pl.col("amount"))))

    first = pl.coalesce(
        pl.when(broken).then(pl.lit(number, pl.UInt8))
        for number, (_, _, broken) in enumerate(found)
    )
    converted = {
        f"{rule.column} converted": rule.convert_column(pl.col(rule.column)).cast(rule.dtype)
        for rule in RULES
        if rule.column in text
    }
    columns, broken, _ = zip(*found, strict=True)
    names = pl.DataFrame(
        {
            "fault": pl.Series(range(len(found)), dtype=pl.UInt8),
            "code": [each.code for each in broken],
            "field": list(columns),
            "message": [each.message for each in broken],
        }
    )
    return first, converted, names


def _error(code: str, message: str) -> PydanticCustomError:
    # The table is code, not input: its texts are literal, though not at this line.
    return PydanticCustomError(cast(LiteralString, code), cast(LiteralString, message))


def digits(number: Decimal | int) -> str:
    """A number as text, as the rule of amounts reads it.

    One with a huge exponent stays as it is, since its digits would fill memory.
    """
    exact = Decimal(number)
    return format(exact, "f") if abs(exact.adjusted()) <= _LONGEST else str(exact)


def _by(column: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """The rule of a column for one JSON value, and what OpenAPI says of it."""
    rule = next(each for each in RULES if each.column == column)

    def check(value: Any) -> Value | None:
        if value is None or value == "":
            if rule.required:
                raise _error(f"missing_{column}", f"{column} is missing")
            return None
        if column == "amount" and type(value) in {int, Decimal}:
            value = digits(value)
        if not isinstance(value, str):
            kinds = "a string or a number" if column == "amount" else "a string"
            raise _error(f"invalid_{column}", f"{column} must be {kinds}")
        for each in rule.faults:
            if each.in_value(value):
                raise _error(each.code, each.message)
        return rule.convert_value(value)

    schema = rule.json_schema if rule.required else {"anyOf": [rule.json_schema, {"type": "null"}]}
    return BeforeValidator(check), WithJsonSchema(schema)


class Transaction(BaseModel):
    """The canonical transaction as it stands in a JSON body, under the same rules as in a frame.

    An amount may be a string or a number that was parsed as `int` or `Decimal`; a `float` is
    refused, since it may have lost digits already. Unknown keys are ignored.

    Raises:
        pydantic.ValidationError: whose first error is the reject: see `first_fault`.
    """

    model_config = ConfigDict(extra="ignore")

    transaction_id: Annotated[str, *_by("transaction_id")] = Field(
        validation_alias=AliasChoices("transaction_id", "id")
    )
    description: Annotated[str, *_by("description")]
    amount: Annotated[Decimal, *_by("amount")]
    currency: Annotated[str, *_by("currency")]
    timestamp: Annotated[datetime, *_by("timestamp")]
    merchant: Annotated[str | None, *_by("merchant")] = None
    operation_type: Annotated[
        Literal["payment", "direct_debit", "transfer", "refund"], *_by("operation_type")
    ]
    side: Annotated[Literal["debit", "credit"], *_by("side")]
    mcc: Annotated[str | None, *_by("mcc")] = None

    @model_validator(mode="after")
    def _magnitude(self) -> "Transaction":
        if self.amount < 0 and self.side == "credit":
            raise _error(SIGN.code, SIGN.message)
        self.amount = abs(self.amount)
        return self


def first_fault(error: ValidationError) -> tuple[str, str | None, str]:
    """Code, field and message of the reject that a `Transaction` was refused with."""
    fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    if fault["type"] == SIGN.code:
        return fault["type"], "amount", fault["msg"]
    if not fault["loc"]:
        return "invalid_record", None, "the record is no JSON object"
    field = "transaction_id" if fault["loc"][0] == "id" else str(fault["loc"][0])
    if fault["type"] == "missing":
        return f"missing_{field}", field, f"{field} is missing"
    return fault["type"], field, fault["msg"]
