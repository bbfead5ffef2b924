"""The same job as a plain loop: confluent-kafka, a pydantic model a message, httpx, SQLAlchemy.

Written as one would write it without Assay: a message at a time, calls of 500 transactions as JSON,
a commit for each 5,000 records, then the offsets. Keys are collated "C", as the product's are. What
breaks a rule goes to the dead-letter topic before. It keeps no books; killed between the two
commits, it fails at the first key that is there already.

Run as a process: `python plain_stream.py TOPIC GROUP RECORDS LETTERS`, with the settings that
`assay` reads; the tables are there, and it ends after so many records.
"""

import json
import os
import sys
import time
from decimal import Decimal
from typing import Annotated, Final, Literal

import httpx
from confluent_kafka import Consumer, Message, Producer
from plain import COMMIT, keep, predict
from pydantic import AwareDatetime, BaseModel, Field, ValidationError
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

_PATIENCE: Final = 1.0  # seconds that a call waits for messages


class Transaction(BaseModel):
    """One message."""

    transaction_id: str = Field(min_length=1, max_length=128)
    description: str = Field(min_length=1, max_length=1024)
    amount: Annotated[Decimal, Field(max_digits=18, decimal_places=2, ge=0)]
    currency: str = Field(min_length=3, max_length=3)
    timestamp: AwareDatetime
    merchant: str | None = None
    operation_type: Literal["payment", "direct_debit", "transfer", "refund"]
    side: Literal["debit", "credit"]


def _sorted(messages: list[Message]) -> tuple[list[Transaction], list[bytes]]:
    good: list[Transaction] = []
    bad: list[bytes] = []
    for each in messages:
        value = each.value() or b""
        try:
            good.append(Transaction.model_validate_json(value))
        except ValidationError:
            bad.append(value)
    return good, bad


def main(topic: str, group: str, records: int, letters: str) -> None:
    """Reads so many records; the last line of output has the counts."""
    began = time.monotonic()
    url = make_url(os.environ["ASSAY_POSTGRES__URL"]).set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    consumer = Consumer(
        {
            "bootstrap.servers": os.environ["ASSAY_KAFKA__BOOTSTRAP_SERVERS"],
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([topic])
    producer = Producer({"bootstrap.servers": os.environ["ASSAY_KAFKA__BOOTSTRAP_SERVERS"]})
    classified = rejected = 0
    with httpx.Client(base_url=os.environ["ASSAY_API__URL"], timeout=30) as client:
        while classified + rejected < records:
            messages = [each for each in consumer.consume(COMMIT, _PATIENCE) if not each.error()]
            if not messages:
                continue
            good, bad = _sorted(messages)
            answers = predict(client, good)
            for each in bad:
                producer.produce(letters, each)
            producer.flush()
            with engine.begin() as connection:
                keep(connection, good, answers, [])
            consumer.commit(asynchronous=False)
            classified += len(good)
            rejected += len(bad)
    consumer.close()
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
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
