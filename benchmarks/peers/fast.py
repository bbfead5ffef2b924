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

With a fifth argument it is as many such processes of one group, since one of them uses one core;
all end once all records were read.

It keeps no books. Killed between the two commits, it fails at the first key that is there already;
a record that was repeated fails its batch for ever. There is no retry of a call, and none of what
the API refuses.

Run as a process: `fast.py TOPIC GROUP RECORDS LETTERS [PROCESSES]`; it ends after so many records.
"""

# pyright: basic, reportMissingImports=false
# Its packages are in an environment of its own (see README.md), where nothing is checked.

import asyncio
import json
import logging
import multiprocessing
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
_LOOK = 0.05  # seconds between two looks at whether all is read


async def consume(topic: str, group: str, records: int, letters: str, read: Any) -> None:
    """Reads until so many records are read by all together."""
    broker = KafkaBroker(
        work.setting("KAFKA__BOOTSTRAP_SERVERS"), config=work.TUNED, log_level=logging.WARNING
    )
    app = FastStream(broker, logger=None)
    client = httpx.AsyncClient(base_url=work.setting("API__URL"), timeout=30)
    connection = await psycopg.AsyncConnection.connect(work.setting("POSTGRES__URL"))

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
        with read.get_lock():
            read.value += len(values)
        if read.value >= records:
            app.exit()

    ending = asyncio.create_task(_end(app, read, records))
    await app.run()
    ending.cancel()
    await client.aclose()
    await connection.close()


async def _end(app: FastStream, read: Any, records: int) -> None:
    """Ends this process once all together have read so many records."""
    while read.value < records:  # noqa: ASYNC110 - others count in processes of their own
        await asyncio.sleep(_LOOK)
    app.exit()


def one(topic: str, group: str, records: int, letters: str, read: Any) -> None:
    """One process."""
    uvloop.run(consume(topic, group, records, letters, read))


def main(topic: str, group: str, records: str, letters: str, processes: str = "1") -> None:
    """Starts them; the last line of output has the counts."""
    began = time.monotonic()
    read = multiprocessing.Value("q", 0)
    asked = topic, group, int(records), letters, read
    others = [multiprocessing.Process(target=one, args=asked) for _ in range(int(processes) - 1)]
    for each in others:
        each.start()
    one(*asked)
    for each in others:
        each.join()
    print(json.dumps({"read": read.value, "seconds": round(time.monotonic() - began, 3)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
