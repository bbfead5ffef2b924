"""How long a record takes from its producer to its committed row, at a steady rate."""

import json
import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import numpy as np
import psycopg
import typer
from confluent_kafka import KafkaError, Message, Producer
from contenders import ASSAY
from figures import about
from harness import Bench, WrongResult, console, ended_in_words, started
from measure import CommandFailed, run
from rich import box
from rich.console import Console
from rich.table import Table
from stream import SERVERS, make_topic

from assay_local import databases

_LOOK: Final = 0.005  # seconds between two looks at the positions: how exact a figure is
_TURN: Final = 0.01  # seconds between two handfuls of records
_DESCRIPTIONS: Final = 2_000


@dataclass(frozen=True)
class Latency:
    """Seconds from just before `produce` to the first look that found the row committed."""

    records: int
    rate: float
    p50: float
    p99: float
    p999: float
    highest: float


def latency(
    *,
    rate: Annotated[int, typer.Option(min=1, help="Records a second.")] = 2_000,
    seconds: Annotated[int, typer.Option(min=1, help="How long.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure the time from produce to commit at a steady rate, with the default settings.

    Servers of its own, one consumer, a topic of three partitions. The positions in PostgreSQL,
    which move in the same transaction as the rows, are looked at every 5 ms.
    """
    with ended_in_words(), started(*SERVERS, keep=False) as bench:
        found = _measured(bench, rate, seconds)
        settings = about(bench.local, "ascending")
    if as_json:
        print(json.dumps({"about": settings, **asdict(found)}))
        return
    table = Table("seconds from produce to commit", "", box=box.SIMPLE_HEAD)
    for name in ("p50", "p99", "p999", "highest"):
        table.add_row(name, f"{getattr(found, name):.3f}")
    Console(width=80, highlight=False).print(
        f"{found.records:,} records at {found.rate:,.0f} a second", table
    )


@contextmanager
def _consuming(environment: dict[str, str], topic: str) -> Generator[None]:
    process = subprocess.Popen(  # noqa: S603 - our own command
        [ASSAY, "stream", "consume", "--topic", topic],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        if process.wait(30):
            raise CommandFailed(f"the consumer exited {process.returncode}")


def _measured(bench: Bench, rate: int, seconds: int) -> Latency:
    local = bench.local
    url = databases.create(local.postgres.url, "latency")
    environment = {**os.environ, **local.settings, "ASSAY_POSTGRES__URL": url}
    run([ASSAY, "migrate"], environment, {})
    topic = make_topic(bench)
    with _consuming(environment, topic), psycopg.connect(url, autocommit=True) as connection:
        _wait_until_assigned(connection)
        producer = _Steady(local.kafka.url, topic, rate, seconds)
        began = time.monotonic()
        thread = threading.Thread(target=producer.run)
        thread.start()
        looks: list[tuple[float, dict[int, int]]] = []
        with console.status(f"{rate:,} records a second for {seconds} s …"):
            while thread.is_alive() or _missing(producer, looks):
                rows = connection.execute("SELECT partition, next FROM positions").fetchall()
                looks.append((time.monotonic(), {int(each): next_ for each, next_ in rows}))
                if time.monotonic() > began + seconds + 60:
                    raise WrongResult("not all records were committed within a minute")
                time.sleep(_LOOK)
        thread.join()
    return _computed(producer, looks, rate)


def _wait_until_assigned(connection: psycopg.Connection) -> None:
    """Until the consumer owns its partitions, so that its start does not count."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        row = connection.execute("SELECT status_url FROM runs WHERE kind = 'stream'").fetchone()
        if row is not None:
            try:
                with urllib.request.urlopen(f"{row[0]}/health/ready", timeout=2) as answer:  # noqa: S310 - our own
                    if len(json.load(answer)["partitions"]):
                        return
            except OSError:
                pass
        time.sleep(0.1)
    raise WrongResult("the consumer did not come up within a minute")


class _Steady:
    """A producer at a steady rate, which notes when each offset was produced."""

    def __init__(self, servers: str, topic: str, rate: int, seconds: int) -> None:
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 5, "acks": "all"})
        self._topic, self._rate, self._seconds = topic, rate, seconds
        self.at: dict[tuple[int, int], float] = {}

    def run(self) -> None:
        """Produces for so long."""
        began, sent = time.monotonic(), 0
        while (elapsed := time.monotonic() - began) < self._seconds:
            while sent < elapsed * self._rate:
                self._send(sent)
                sent += 1
            self._producer.poll(0)
            time.sleep(_TURN)
        if self._producer.flush(30):
            raise RuntimeError("messages were not delivered")

    def _send(self, number: int) -> None:
        now = time.monotonic()

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.at[message.partition() or 0, message.offset() or 0] = now

        record = (
            f'{{"transaction_id":"L{number}","description":"CORNER SHOP {number % _DESCRIPTIONS}",'
            f'"amount":"12.50","currency":"EUR","timestamp":"2026-01-02T10:11:12Z",'
            '"operation_type":"payment","side":"debit"}'
        )
        self._producer.produce(self._topic, record.encode(), on_delivery=delivered)


def _missing(producer: _Steady, looks: list[tuple[float, dict[int, int]]]) -> bool:
    """Whether some record is not committed yet."""
    stand = looks[-1][1] if looks else {}
    ends: dict[int, int] = {}
    for partition, offset in producer.at:
        ends[partition] = max(ends.get(partition, 0), offset + 1)
    return any(stand.get(each, 0) < end for each, end in ends.items())


def _computed(producer: _Steady, looks: list[tuple[float, dict[int, int]]], rate: float) -> Latency:
    times = np.array([at for at, _ in looks])
    spans: list[np.ndarray] = []
    for partition in {each for each, _ in producer.at}:
        stands = np.array([stand.get(partition, 0) for _, stand in looks])
        offsets = np.array(sorted(o for p, o in producer.at if p == partition))
        produced = np.array([producer.at[partition, each] for each in offsets])
        spans.append(times[np.searchsorted(stands, offsets, side="right")] - produced)
    every = np.concatenate(spans)
    p50, p99, p999 = (float(each) for each in np.quantile(every, [0.5, 0.99, 0.999]))
    return Latency(every.size, rate, p50, p99, p999, float(every.max()))


if __name__ == "__main__":
    typer.run(latency)
