# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "faststream[confluent]==0.7.8",
#     "httpx==0.28.1",
#     "msgspec==0.22.0",
#     "psycopg[binary]==3.3.9",
#     "uvloop==0.23.0",
# ]
# ///
"""FastStream on confluent-kafka, with COPY written by hand.

A batch subscriber takes up to 5,000 messages, without a decoder of its own. Each is read by
msgspec; the batch is one call of the API, as JSON. Meanwhile the transactions are copied; then the
predictions, and both are committed in one transaction of PostgreSQL. What cannot be read goes to
the dead-letter topic before. The offsets are committed after each batch (`NACK_ON_ERROR`). The
event loop is uvloop, librdkafka fetches early.

It keeps no books. Killed between the two commits, it fails at the first key that is there already;
a record that was repeated fails its batch for ever. There is no retry of a call, and none of what
the API refuses.

Run as a process: `fast.py TOPIC GROUP RECORDS LETTERS`; it ends after so many records.
"""

# pyright: basic, reportMissingImports=false
# Its packages are in an environment of its own (see README.md), where nothing is checked.

import asyncio
import json
import logging
import sys
import time
from typing import Any

import httpx
import psycopg
import uvloop
import work
from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker

_BATCH = 5_000


async def consume(topic: str, group: str, records: int, letters: str) -> None:
    """Reads so many records; the last line of output has the counts."""
    began = time.monotonic()
    broker = KafkaBroker(
        work.setting("KAFKA__BOOTSTRAP_SERVERS"), config=work.TUNED, log_level=logging.WARNING
    )
    app = FastStream(broker, logger=None)
    client = httpx.AsyncClient(base_url=work.setting("API__URL"), timeout=30)
    connection = await psycopg.AsyncConnection.connect(work.setting("POSTGRES__URL"))
    seen = 0

    async def ask(raw: list[bytes]) -> bytes:
        response = await client.post("/predict", content=work.question(raw), headers=work.HEADERS)
        return response.raise_for_status().content

    async def copy(statement: Any, rows: Any) -> None:
        async with connection.cursor() as cursor, cursor.copy(statement) as target:
            for row in rows:
                await target.write_row(row)

    async def body(message: Any) -> Any:
        return message.body

    @broker.subscriber(
        topic,
        group_id=group,
        batch=True,
        max_records=_BATCH,
        polling_interval=0.1,
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        decoder=body,
    )
    async def handle(values: list[bytes]) -> None:
        nonlocal seen
        good, raw, broken = work.sort(values)
        if broken:
            await broker.publish_batch(*broken, topic=letters)
        if good:
            asked = asyncio.create_task(ask(raw))
            await copy(work.COPY_TRANSACTIONS, map(work.transaction_row, good))
            await copy(
                work.COPY_PREDICTIONS, map(work.prediction_row, work.answers(await asked, good))
            )
            await connection.commit()
        seen += len(values)
        if seen >= records:
            app.exit()

    await app.run()
    await client.aclose()
    await connection.close()
    print(json.dumps({"read": seen, "seconds": round(time.monotonic() - began, 3)}))


if __name__ == "__main__":
    uvloop.run(consume(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))
