"""The same job as a plain loop: csv, a pydantic model a row, httpx, SQLAlchemy.

Written as one would write it without Assay: a record at a time, calls of 500 transactions as JSON,
a commit for each 5,000 rows. Keys are collated "C", as the product's are. What breaks a rule goes
to a table of errors. It keeps no books and cannot be resumed.

Run as a process: `python plain.py BUCKET KEY`, with the settings that `assay` reads; the tables are
there.
"""

import codecs
import csv
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Annotated, Any, Final, Literal, TypeVar
from zoneinfo import ZoneInfo

import boto3
import httpx
from pydantic import BaseModel, BeforeValidator, Field, ValidationError
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    MetaData,
    Numeric,
    Table,
    Text,
    create_engine,
    insert,
)
from sqlalchemy.engine import make_url

CALL: Final = 500
COMMIT: Final = 5_000
_ZONE: Final = ZoneInfo("Europe/Paris")

_KEY: Final = Text(collation="C")

metadata = MetaData()
transactions = Table(
    "transactions",
    metadata,
    Column("transaction_id", _KEY, primary_key=True),
    Column("description", Text, nullable=False),
    Column("amount", Numeric(18, 2), nullable=False),
    Column("currency", Text, nullable=False),
    Column("timestamp", DateTime(timezone=True), nullable=False),
    Column("merchant", Text),
    Column("operation_type", Text, nullable=False),
    Column("side", Text, nullable=False),
)
predictions = Table(
    "predictions",
    metadata,
    Column("transaction_id", _KEY, primary_key=True),
    Column("model_version", _KEY, primary_key=True),
    Column("category", Text, nullable=False),
    Column("confidence", Numeric(5, 4), nullable=False),
    Column("needs_review", Boolean, nullable=False),
)
errors = Table(
    "errors",
    metadata,
    Column("line", Text, nullable=False),
    Column("error", Text, nullable=False),
)


def _amount(text: str) -> str:
    return text.replace(",", ".").removeprefix("-")


def _local(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S").replace(tzinfo=_ZONE)


class Transaction(BaseModel):
    """One line of the file."""

    transaction_id: str = Field(alias="id", min_length=1, max_length=128)
    description: str = Field(min_length=1, max_length=1024)
    amount: Annotated[Decimal, BeforeValidator(_amount), Field(max_digits=18, decimal_places=2)]
    currency: Literal["EUR"] = "EUR"
    timestamp: Annotated[datetime, BeforeValidator(_local)]
    merchant: str | None
    operation_type: Literal["payment", "direct_debit", "transfer", "refund"]
    side: Literal["debit", "credit"]


_T = TypeVar("_T")


def _groups(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def _rows(bucket: str, key: str) -> Iterator[dict[str, str | None]]:
    client: Any = boto3.client(  # pyright: ignore[reportUnknownMemberType] - partial stubs
        "s3",
        endpoint_url=os.environ["ASSAY_S3__ENDPOINT_URL"],
        aws_access_key_id=os.environ["ASSAY_S3__ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["ASSAY_S3__SECRET_ACCESS_KEY"],
        region_name=os.environ["ASSAY_S3__REGION"],
    )
    body = client.get_object(Bucket=bucket, Key=key)["Body"]
    yield from csv.DictReader(codecs.getreader("utf-8")(body), delimiter=";")


def predict(client: httpx.Client, good: Sequence[BaseModel]) -> list[dict[str, Any]]:
    """What the model says of each, 500 a call."""
    answers: list[dict[str, Any]] = []
    for group in _groups(good, CALL):
        response = client.post("/predict", json=[each.model_dump(mode="json") for each in group])
        response.raise_for_status()
        answers.extend(response.json())
    return answers


def keep(
    connection: Connection,
    good: Sequence[BaseModel],
    answers: list[dict[str, Any]],
    bad: list[dict[str, str]],
) -> None:
    """Stores one group."""
    # With RETURNING, SQLAlchemy sends many rows in one statement (insertmanyvalues).
    key = transactions.c.transaction_id
    connection.execute(insert(transactions).returning(key), [each.model_dump() for each in good])
    connection.execute(
        insert(predictions).returning(predictions.c.transaction_id),
        [
            {
                "transaction_id": each["transaction_id"],
                "model_version": each["model_version"],
                "category": each["category"],
                "confidence": each["confidence_score"],
                "needs_review": each["needs_review"],
            }
            for each in answers
        ],
    )
    if bad:
        connection.execute(insert(errors), bad)


def main(bucket: str, key: str) -> None:
    """Moves one file; the last line of output has the counts."""
    began = time.monotonic()
    url = make_url(os.environ["ASSAY_POSTGRES__URL"]).set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    classified = rejected = 0
    with httpx.Client(base_url=os.environ["ASSAY_API__URL"], timeout=30) as client:
        for group in _groups(_rows(bucket, key), COMMIT):
            good: list[Transaction] = []
            bad: list[dict[str, str]] = []
            for row in group:
                try:
                    good.append(Transaction.model_validate(row))
                except (ValidationError, TypeError, AttributeError) as error:
                    bad.append({"line": json.dumps(row), "error": str(error)})
            answers = predict(client, good)
            with engine.begin() as connection:
                keep(connection, good, answers, bad)
            classified += len(good)
            rejected += len(bad)
    engine.dispose()
    print(
        json.dumps(
            {
                "read": classified + rejected,
                "classified": classified,
                "rejected": rejected,
                "seconds": round(time.monotonic() - began, 3),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
