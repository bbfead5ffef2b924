"""A producer at a steady rate.

Run as a process: `python steady.py SERVERS TOPIC RATE RECORDS`. Record n is due `n / RATE` seconds
after the first, whatever became of those between, and goes to partition `n % partitions`: on a new
topic it has there the offset `n // partitions`, so that nobody has to note when each was produced.
It prints two lines of JSON: `began`, when the first is due, by the clock that all processes of a
machine share; and at the end `late_p99` and `late_highest`, how many seconds after they were due
records were handed to the client.
"""

import json
import sys
import time
from typing import Final

import numpy as np
import polars as pl
from confluent_kafka import Producer
from sample import make

_TURN: Final = 0.001  # seconds between two handfuls
_HANDFUL: Final = 500
_LEAD: Final = 0.5  # seconds from the word to the first record
_DIFFERENT: Final = 250_000
"""Records that differ in more than their ids; then they come again."""


def produce(servers: str, topic: str, rate: float, records: int) -> None:
    """Produces so many records, each when it is due or as soon as possible after."""
    producer = Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,  # else a message that is sent again may change places
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 3,  # errors only
        }
    )
    partitions = len(producer.list_topics(topic, timeout=10).topics[topic].partitions)
    tails = _tails(min(records, _DIFFERENT))
    sent, turns, times = 0, [0], list[float]()
    began = time.monotonic() + _LEAD
    print(json.dumps({"began": began}), flush=True)
    while sent < records:
        due = min(records, int((time.monotonic() - began) * rate) + 1, sent + _HANDFUL)
        if due <= sent or time.monotonic() < began:
            producer.poll(_TURN)
            continue
        for number in range(sent, due):
            value = b'{"transaction_id":"L%d"%b' % (number, tails[number % len(tails)])
            while True:
                try:
                    producer.produce(topic, value, partition=number % partitions)
                except BufferError:
                    producer.poll(0.1)
                else:
                    break
        sent = due
        turns.append(sent)
        times.append(time.monotonic())
    if left := producer.flush(60):
        raise RuntimeError(f"{left} messages were not delivered")
    late = np.repeat(times, np.diff(turns)) - (began + np.arange(records) / rate)
    print(json.dumps({"late_p99": np.quantile(late, 0.99), "late_highest": late.max()}))


def _tails(records: int) -> list[bytes]:
    """The valid ones of the sample's records, without their ids."""
    found: list[bytes] = []

    def put(frame: pl.DataFrame) -> int:
        valid = frame.filter(pl.col("stored").is_not_null())["message"]
        found.extend(valid.str.replace(r'^\{"transaction_id":"[^"]*"', "").cast(pl.Binary))
        return 0

    make(records, "scattered", put)
    return found


if __name__ == "__main__":
    _servers, _topic, _rate, _records = sys.argv[1:]
    produce(_servers, _topic, float(_rate), int(_records))
