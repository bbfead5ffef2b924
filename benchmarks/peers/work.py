"""What the peers in Python do in the same way: read a message, ask the API, write rows for COPY.

A message is read by msgspec, the quickest library that checks types, lengths and values meanwhile.
It is handed to the API as it came: it is JSON already. The answers are held against the ids.
"""

# pyright: basic, reportMissingImports=false, reportGeneralTypeIssues=false, reportCallIssue=false
# A peer's packages are in an environment of its own (see README.md), where nothing is checked.

import os
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from operator import attrgetter
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

COPY_TRANSACTIONS: Final = (
    "COPY transactions (transaction_id, description, amount, currency, timestamp, merchant,"
    " operation_type, side) FROM STDIN"
)
COPY_PREDICTIONS: Final = (
    "COPY predictions (transaction_id, model_version, category, confidence, needs_review)"
    " FROM STDIN"
)
HEADERS: Final = {"content-type": "application/json"}
TUNED: Final = {"fetch.queue.backoff.ms": 5, "queued.min.messages": 200_000}
"""For librdkafka, whose defaults fetch too late for a quick consumer."""

Text = Annotated[str, Meta(min_length=1, max_length=1024)]


class Transaction(msgspec.Struct, gc=False):
    """One message."""

    transaction_id: Annotated[str, Meta(min_length=1, max_length=128)]
    description: Text
    amount: Decimal
    currency: Annotated[str, Meta(min_length=3, max_length=3)]
    timestamp: Annotated[datetime, Meta(tz=True)]
    operation_type: Literal["payment", "direct_debit", "transfer", "refund"]
    side: Literal["debit", "credit"]
    merchant: str | None = None


class Answer(msgspec.Struct, gc=False):
    """What the API says of one."""

    transaction_id: str
    category: str
    confidence_score: float
    needs_review: bool
    model_version: str


read: Final = msgspec.json.Decoder(Transaction).decode
_answers: Final = msgspec.json.Decoder(list[Answer]).decode


def sort(values: Sequence[bytes]) -> tuple[list[Transaction], list[bytes], list[bytes]]:
    """The transactions, the messages that they are from, and those that are none."""
    good: list[Transaction] = []
    raw: list[bytes] = []
    broken: list[bytes] = []
    for each in values:
        try:
            good.append(read(each))
        except (msgspec.DecodeError, UnicodeDecodeError):
            broken.append(each)
        else:
            raw.append(each)
    return good, raw, broken


def question(raw: Sequence[bytes]) -> bytes:
    """The body of a call."""
    return b"[" + b",".join(raw) + b"]"


def answers(body: bytes, asked: Sequence[Transaction]) -> list[Answer]:
    """The answers in a body; they are those to what was asked."""
    found = _answers(body)
    if [each.transaction_id for each in found] != [each.transaction_id for each in asked]:
        raise ValueError("the API answered for other records than it was asked about")
    return found


transaction_row: Final = attrgetter(
    "transaction_id",
    "description",
    "amount",
    "currency",
    "timestamp",
    "merchant",
    "operation_type",
    "side",
)
"""In the order of `COPY_TRANSACTIONS`."""

prediction_row: Final = attrgetter(
    "transaction_id", "model_version", "category", "confidence_score", "needs_review"
)
"""In the order of `COPY_PREDICTIONS`."""


def setting(name: str) -> str:
    """A setting of the benchmark, such as `KAFKA__BOOTSTRAP_SERVERS`."""
    return os.environ[f"ASSAY_{name}"]
