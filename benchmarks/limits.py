"""What one part alone can do, on the same machine and with the same records.

- Consume: what confluent-kafka hands out and nothing is done with, by the group's defaults and with
  early fetches.
- COPY: what PostgreSQL takes of rows that were prepared before, sorted by key, in one transaction a
  chunk and over one connection: the two tables as the product keeps them, and the bare ones of the
  other contenders.
- The model: `Model.predict` on the chunks, a new one in each run.
- The API: Arrow bodies that were prepared before, from two connections at once.

A chunk holds as many records as one of the product, and nobody else works meanwhile.
"""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from typing import Annotated, Any, Final

import httpx
import polars as pl
import psycopg
import typer
from compare import environ, make_tables
from confluent_kafka import Consumer
from contenders import ASSAY
from figures import Limit, about, spread
from harness import Bench, console, ended_in_words, started
from measure import run
from rich import box
from rich.console import Console
from rich.table import Table
from sample import Ids, make, send
from stream import SERVERS, make_topic

from assay.wire import arrow
from assay_local import databases
from assay_ml_api.records import sort
from assay_model.predict import Model
from assay_streaming.config import StreamConfig

CALL: Final = 5_000
"""Messages of one call of `consume`."""

_CHUNK: Final = StreamConfig().chunk_records
_EARLY: Final = {"fetch.queue.backoff.ms": 5, "queued.min.messages": 500_000}
_CONNECTIONS: Final = 2
_KEPT: Final = {"transactions": "*", "predictions": "*"}
_NAMED: Final = "SELECT number, transaction_id FROM transactions"
# All entries of one commit have the moment of its beginning.
_COMMITS: Final = """
    SELECT array_agg(entry) FROM ledger
    WHERE classified > 0 GROUP BY committed_at ORDER BY committed_at
"""
_BARE: Final = {
    "transactions": "transaction_id, description, amount, currency, timestamp, merchant,"
    " operation_type, side",
    "predictions": "transaction_id, model_version, category, confidence, needs_review",
}


def limits(
    *,
    records: Annotated[int, typer.Option(min=1_000, help="Of each part.")] = 500_000,
    runs: Annotated[int, typer.Option(min=1, help="Of each part, in turns.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Measure what each part alone can do: Kafka, COPY, the model, the API.

    Servers of its own. No contender can be quicker than the slowest of them.
    """
    with ended_in_words(), started(*SERVERS, keep=False) as bench:
        found = measured_limits(bench, records, runs, "scattered")
        settings = about(bench.local, "scattered")
    if as_json:
        print(json.dumps({"about": settings, "limits": [asdict(each) for each in found]}))
        return
    print_limits(found)


def print_limits(found: Sequence[Limit]) -> None:
    """Prints what each part can do."""
    table = Table("one part alone", "records/s", box=box.SIMPLE_HEAD)
    for each in found:
        table.add_row(each.part, spread(each.rates, ",.0f"))
    Console(width=80, highlight=False).print(table)


def measured_limits(bench: Bench, records: int, runs: int, ids: Ids) -> list[Limit]:
    """All parts in turns, each in a process of its own."""
    topic = make_topic(bench)
    _apart(send, bench.local.kafka.url, topic, records, ids)
    committed = _committed(bench, topic)
    rates: dict[str, list[float]] = {}
    for number in range(runs):
        for part, measure in _parts(bench, topic, committed, records, ids).items():
            with console.status(f"{part}, run {number + 1} of {runs} …"):
                rates.setdefault(part, []).append(measure())
            console.print(f"{part}: {rates[part][-1]:,.0f} records/s")
    databases.drop(bench.local.postgres.url, "limits")
    return [Limit(part, found) for part, found in rates.items()]


def _parts(
    bench: Bench, topic: str, committed: str, records: int, ids: Ids
) -> dict[str, Callable[[], float]]:
    kafka = bench.local.kafka.url

    def copied(who: str, columns: dict[str, str]) -> float:
        url = databases.create(bench.local.postgres.url, "limits_target")
        try:
            make_tables(who, url, environ(bench, url, {}))
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("CHECKPOINT")
            return _apart(_copy, committed, url, columns)
        finally:
            databases.drop(bench.local.postgres.url, "limits_target")

    def answered(api: Any) -> float:
        return _apart(_ask, bench.fresh_api(api)["ASSAY_API__URL"], records, ids)

    return {
        "consume, defaults": lambda: _apart(_consume, kafka, topic, records, {}),
        "consume, early fetches": lambda: _apart(_consume, kafka, topic, records, _EARLY),
        "COPY, the product's two tables": lambda: copied("assay", _KEPT),
        "COPY, two bare tables": lambda: copied("plain", _BARE),
        "the model": lambda: _apart(_predict, records, ids),
        "the model's API": lambda: answered("model"),
        "the stub API": lambda: answered("stub"),
    }


def _apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Does it in a new process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _committed(bench: Bench, topic: str) -> str:
    """A database with what the product makes of the topic; returns its URL."""
    url = databases.create(bench.local.postgres.url, "limits")
    environment = environ(bench, url, bench.fresh_api("stub"))
    make_tables("assay", url, environment)
    options = ["--topic", topic, "--group", "limits", "--until-idle", "0"]
    run([ASSAY, "stream", "consume", *options], environment, {})
    return url


def _consume(servers: str, topic: str, records: int, properties: dict[str, Any]) -> float:
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"limits-{time.monotonic_ns()}",
            "auto.offset.reset": "earliest",
            **properties,
        }
    )
    consumer.subscribe([topic])
    seen = len(consumer.consume(1, 60))  # the group is joined
    began, first = time.monotonic(), seen
    while seen < records:
        seen += len(consumer.consume(min(CALL, records - seen), 1))
    seconds = time.monotonic() - began
    consumer.close()
    return (seen - first) / seconds


def _copy(source: str, target: str, columns: dict[str, str]) -> float:
    """Rows a second of both tables at once, by what the product has committed together."""
    with psycopg.connect(source) as connection:
        chunks = [
            [_rows(connection, table, names, entries) for table, names in columns.items()]
            for (entries,) in connection.execute(_COMMITS).fetchall()
        ]
        counted = connection.execute("SELECT count(*) FROM transactions").fetchone()
    with psycopg.connect(target) as connection, connection.cursor() as cursor:
        began = time.monotonic()
        for chunk in chunks:
            for (table, names), rows in zip(columns.items(), chunk, strict=True):
                with cursor.copy(_statement(table, names)) as copy:
                    copy.write(rows)
            connection.commit()
        seconds = time.monotonic() - began
    return (counted[0] if counted else 0) / seconds


def _rows(connection: psycopg.Connection, table: str, names: str, entries: Sequence[int]) -> bytes:
    shown = f"{table}.*" if names == "*" else names
    of = f"{table} JOIN ({_NAMED}) AS named USING (number)" if table == "predictions" else table
    select = f"SELECT {shown} FROM {of} WHERE entry = ANY(ARRAY{entries}) ORDER BY transaction_id"  # noqa: S608 - ours
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY ({select}) TO STDOUT (FORMAT binary)".encode()) as copy,
    ):
        return b"".join(bytes(each) for each in copy)


def _statement(table: str, names: str) -> bytes:
    shown = "" if names == "*" else f" ({names})"
    return f"COPY {table}{shown} FROM STDIN (FORMAT binary)".encode()


def _chunks(records: int, ids: Ids) -> Sequence[pl.DataFrame]:
    """The valid transactions among so many records, in chunks."""
    lines: list[str] = []

    def put(frame: pl.DataFrame) -> int:
        lines.extend(frame.filter(pl.col("stored").is_not_null())["message"])
        return 0

    make(records, ids, put)
    starts = range(0, len(lines), _CHUNK)
    return [sort([*map(json.loads, lines[each : each + _CHUNK])], "EUR")[0] for each in starts]


def _predict(records: int, ids: Ids) -> float:
    chunks, model = _chunks(records, ids), Model.load()
    began = time.monotonic()
    for each in chunks:
        model.predict(each)
    return sum(each.height for each in chunks) / (time.monotonic() - began)


def _ask(url: str, records: int, ids: Ids) -> float:
    chunks = _chunks(records, ids)
    bodies = [arrow.write_transactions(each) for each in chunks]
    headers = {"content-type": arrow.CONTENT_TYPE, "accept": arrow.CONTENT_TYPE}
    with (
        httpx.Client(base_url=url, timeout=60, headers=headers) as client,
        ThreadPoolExecutor(_CONNECTIONS) as pool,
    ):

        def ask(body: bytes) -> int:
            return len(client.post("/predict", content=body).raise_for_status().content)

        began = time.monotonic()
        list(pool.map(ask, bodies))
        return sum(each.height for each in chunks) / (time.monotonic() - began)


if __name__ == "__main__":
    typer.run(limits)
