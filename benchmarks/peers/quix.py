# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "httpx==0.28.1",
#     "msgspec==0.22.0",
#     "psycopg[binary]==3.3.9",
#     "quixstreams==3.28.1",
# ]
# ///
"""Quix Streams with a sink of its own.

A StreamingDataFrame reads each message by msgspec. A sink gathers what it gets, and at each
checkpoint (10,000 messages) makes one call of the API, as JSON, and one transaction of PostgreSQL:
COPY of both tables. The sink that comes with Quix Streams fills one table by INSERT and asks
nobody, so that it cannot do this work. What cannot be read is produced to the dead-letter topic
before the checkpoint. The topic's values stay bytes, nothing is branched (which would copy each
value), there is no state; librdkafka fetches early.

At least once, as Quix Streams calls it: killed between the commit of PostgreSQL and that of the
offsets, it fails at the first key that is there already. It keeps no books. There is no retry of a
call, and none of what the API refuses.

Run as a process: `quix.py TOPIC GROUP RECORDS LETTERS`; it ends after so many records.
"""

# pyright: basic, reportMissingImports=false
# Its packages are in an environment of its own (see README.md), where nothing is checked.

import json
import sys
import time
from typing import Any

import httpx
import psycopg
import work
from quixstreams import Application
from quixstreams.sinks import BaseSink

_CHECKPOINT = 10_000


class Tables(BaseSink):
    """Both tables, by way of the API."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[tuple[bytes, work.Transaction]] = []

    def setup(self) -> None:
        """Opens the connections."""
        self._client = httpx.Client(base_url=work.setting("API__URL"), timeout=30)
        self._connection = psycopg.connect(work.setting("POSTGRES__URL"))

    def add(self, value: Any, *_: Any, **__: Any) -> None:
        """Holds one record."""
        self._held.append(value)

    def flush(self) -> None:
        """Asks and stores what is held."""
        held, self._held = self._held, []
        if not held:
            return
        good = [each for _, each in held]
        response = self._client.post(
            "/predict", content=work.question([raw for raw, _ in held]), headers=work.HEADERS
        )
        found = work.answers(response.raise_for_status().content, good)
        with self._connection.cursor() as cursor:
            with cursor.copy(work.COPY_TRANSACTIONS) as copy:
                for row in map(work.transaction_row, good):
                    copy.write_row(row)
            with cursor.copy(work.COPY_PREDICTIONS) as copy:
                for row in map(work.prediction_row, found):
                    copy.write_row(row)
        self._connection.commit()


def consume(topic: str, group: str, records: int, letters: str) -> None:
    """Reads so many records; the last line of output has the counts."""
    began = time.monotonic()
    app = Application(
        broker_address=work.setting("KAFKA__BOOTSTRAP_SERVERS"),
        consumer_group=group,
        auto_offset_reset="earliest",
        commit_every=_CHECKPOINT,
        consumer_extra_config=work.TUNED,
        use_changelog_topics=False,
        auto_create_topics=False,
        loglevel="WARNING",
    )
    seen = 0
    with app.get_producer() as producer:

        def read(value: bytes) -> tuple[bytes, work.Transaction] | None:
            nonlocal seen
            seen += 1
            if seen == records:
                app.stop()
            try:
                return value, work.read(value)
            except (work.msgspec.DecodeError, UnicodeDecodeError):
                producer.produce(letters, value)
                return None

        source = app.topic(topic, value_deserializer="bytes", key_deserializer="bytes")
        rows = app.dataframe(source).apply(read)
        rows = rows.filter(lambda value: value is not None)
        rows.sink(Tables())
        app.run()
    print(json.dumps({"read": seen, "seconds": round(time.monotonic() - began, 3)}))


if __name__ == "__main__":
    consume(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
