"""A topic becomes classified rows, with an outage of the model in the middle."""

import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any
from urllib.error import HTTPError, URLError

import psycopg
from confluent_kafka import Consumer, TopicPartition

from assay_local import Local
from demo.steps import (
    DOORS,
    DemoFailed,
    Started,
    assay,
    console,
    print_doors,
    require,
    running,
    table,
)

DEAD_LETTERS = "failed-transactions"
OUTAGE = 5  # seconds
SECONDS = "15"  # of producing
_PRODUCERS = (
    ("stream", "produce", "--preset", "trickle", "--seconds", SECONDS),
    ("stream", "produce", "--preset", "gusts", "--seconds", SECONDS),
    ("stream", "produce", "--rate", "1500", "--faults", "0.02", "--seconds", SECONDS),
)
_CONSUMER = ("stream", "consume")
_PATIENCE = 60  # seconds until the demo gives up


def show(environment: Mapping[str, str], local: Local) -> None:
    """Shows it; the tables are there."""
    console.rule("Stream", align="left")
    _say_run("1.", "stream", "topics")
    assay(environment, "stream", "topics", show=True)
    with psycopg.connect(environment["ASSAY_POSTGRES__URL"], autocommit=True) as connection:
        _consume(environment, local, connection)
        _show_letters(connection)
        _redrive(environment, connection)
        _publish(environment, connection)
    console.print("\n6. The books, held against the topic.")
    found = json.loads(assay(environment, "reconcile", "--json"))
    shown = table("partition", "read to", "ends", "to come", numbers=("read to", "ends", "to come"))
    for each in found["topics"]:
        shown.add_row(each["partition"], *(f"{each[at]:,}" for at in ("next", "ends", "to_come")))
    console.print(shown)
    require(found["balanced"], "the books do not balance")
    console.print(f"   [green]The books balance[/], over {found['entries']:,} ledger entries.\n")


def _consume(environment: Mapping[str, str], local: Local, connection: psycopg.Connection) -> None:
    console.print("\n2. Two consumers share three partitions. Some records are broken.")
    for each in (_CONSUMER, *_PRODUCERS):
        _say_run("  ", *each)
    with running(environment, _CONSUMER, _CONSUMER) as consumers:
        # Who begins late finds nothing left to read.
        with console.status("Waiting until both have their share of the partitions …"):
            _wait("both consumers have partitions", consumers, lambda: _both_share(connection))
        with running(environment, *_PRODUCERS) as producers:
            with console.status("Waiting until both have read something …"):
                _wait("both consumers have committed", consumers, lambda: _both_commit(connection))
            _outage(environment, local, connection, consumers)
            with console.status("Waiting until the producers are done and all is read …"):
                sent = [each.summary(_PATIENCE) for each in producers]
                produced = sum(each["delivered"] for each in sent)
                _wait("all is read", consumers, lambda: _read(connection) >= produced)
        console.print("   SIGTERM ends the consumers.")
        done = [each.stop() for each in consumers]
    console.print(f"\n   {produced:,} messages were put on the topic.")
    sums = {name: sum(each[name] for each in done) for name in ("read", *DOORS)}
    print_doors({**sums, "seconds": max(each["seconds"] for each in done)})
    require(sums["read"] == produced, f"{sums['read']:,} were read")
    (lost,) = _one(
        connection,
        "SELECT count(*) FROM dead_letters WHERE stage = 'classify' AND source LIKE 'kafka/%'",
    )
    require(lost == 0, f"{lost:,} records were rejected since the model was away")
    console.print("   None was rejected since the model was away.")


def _read(connection: psycopg.Connection) -> int:
    """How many records of the topic are in the books."""
    (number,) = _one(
        connection, "SELECT coalesce(sum(read), 0) FROM ledger WHERE source LIKE 'kafka/%'"
    )
    return number


def _both_share(connection: psycopg.Connection) -> bool:
    """Whether two consumers say that partitions are theirs."""
    urls = _status_urls(connection)
    return len(urls) == 2 and all(_facts(url).get("partitions") for url in urls)  # noqa: PLR2004 - both


def _both_commit(connection: psycopg.Connection) -> bool:
    """Whether two consumers have committed something."""
    (number,) = _one(
        connection,
        "SELECT count(DISTINCT run_id) FROM ledger JOIN runs USING (run_id) WHERE kind = 'stream'",
    )
    return number >= 2  # noqa: PLR2004 - both


def _outage(
    environment: Mapping[str, str],
    local: Local,
    connection: psycopg.Connection,
    consumers: list[Started],
) -> None:
    urls = _status_urls(connection)
    console.print(
        f"\n3. The model API is stopped, and started again once both consumers have noticed,"
        f" {OUTAGE} s later at least."
    )
    began = time.monotonic()
    local.api.stop()
    _wait("both breakers are open", consumers, lambda: all(_waits(url) for url in urls))
    console.print("   Both consumers hold back and keep their places in the group:\n")
    _say_run("  ", "top", "--once")
    assay(environment, "top", "--once", show=True)
    time.sleep(max(0.0, began + OUTAGE - time.monotonic()))
    local.api.start()
    _wait("both breakers are closed", consumers, lambda: not any(_waits(url) for url in urls))
    seconds = time.monotonic() - began
    console.print(
        f"\n   {seconds:.1f} s after it was stopped it answers again, and both go on by themselves."
    )


def _status_urls(connection: psycopg.Connection) -> list[str]:
    """Where consumers tell how they get on."""
    found = connection.execute(
        "SELECT status_url FROM runs WHERE kind = 'stream' AND ended_at IS NULL"
    )
    return [url for (url,) in found]


def _waits(url: str) -> bool:
    """Whether a consumer says that it waits for the model."""
    return "classifier" in _facts(url)["away"]


def _facts(url: str) -> dict[str, Any]:
    """What a consumer says of itself."""
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=2) as answer:  # noqa: S310 - ours
            return json.load(answer)
    except HTTPError as not_ready:
        with not_ready:
            return json.load(not_ready)
    except (URLError, TimeoutError) as error:
        raise DemoFailed(f"{url} does not answer: {type(error).__name__}") from None


def _wait(what: str, consumers: list[Started], holds: Callable[[], bool]) -> None:
    """Waits until it is so; the consumers must not end meanwhile."""
    until = time.monotonic() + _PATIENCE
    while not holds():
        for each in consumers:
            each.require_running()
        require(time.monotonic() < until, f"not so after {_PATIENCE} s: {what}")
        time.sleep(0.1)


def _show_letters(connection: psycopg.Connection) -> None:
    console.print("\n4. What was rejected is kept as dead letters, with its own bytes.")
    shown = table("code", "field", "letters", numbers=("letters",))
    rows = connection.execute(
        "SELECT code, field, count(*) FROM dead_letters WHERE source LIKE 'kafka/%'"
        " GROUP BY code, field ORDER BY 3 DESC, 1"
    ).fetchall()
    for code, field, letters in rows:
        shown.add_row(code, field or "", f"{letters:,}")
    console.print(shown)


def _redrive(environment: Mapping[str, str], connection: psycopg.Connection) -> None:
    (lacking,) = _one(
        connection,
        "SELECT count(*) FROM dead_letters WHERE code = 'missing_currency' AND state = 'open'",
    )
    require(lacking > 0, "no record lacked its currency")
    command = ("dead-letters", "redrive", "--code", "missing_currency", "--edit", "currency=EUR")
    console.print("   Those without a currency can be mended:")
    _say_run("  ", *command)
    summary = json.loads(assay(environment, *command).splitlines()[-1])
    (closed,) = _one(
        connection,
        "SELECT count(*) FROM dead_letters WHERE redrive = %s AND state = 'closed'",
        summary["run_id"],
    )
    console.print(f"   {closed:,} of {lacking:,} are classified now; their letters are closed.")
    require(closed == lacking, "some could not be mended")


def _publish(environment: Mapping[str, str], connection: psycopg.Connection) -> None:
    console.print("\n5. The dead-letter service puts letters on a topic, for whoever reads them.")
    command = ("stream", "dead-letters", "--once", "--no-retry")
    _say_run("  ", *command)
    summary = json.loads(assay(environment, *command).splitlines()[-1])
    (letters,) = _one(connection, "SELECT count(*) FROM dead_letters WHERE source LIKE 'kafka/%'")
    there = _messages(environment["ASSAY_KAFKA__BOOTSTRAP_SERVERS"])
    console.print(
        f"   {summary['published']:,} published; {DEAD_LETTERS} holds {there:,} messages."
    )
    require(summary["published"] == there == letters, f"there are {letters:,} letters")


def _messages(servers: str) -> int:
    """How many messages are on the dead-letter topic."""
    consumer: Any = Consumer({"bootstrap.servers": servers, "group.id": "demo"})  # partial stubs
    try:
        partitions = consumer.list_topics(DEAD_LETTERS, timeout=10).topics[DEAD_LETTERS].partitions
        bounds = [
            consumer.get_watermark_offsets(TopicPartition(DEAD_LETTERS, each), timeout=10)
            for each in partitions
        ]
    finally:
        consumer.close()
    return sum(high - low for low, high in bounds)


def _one(connection: psycopg.Connection, query: str, *values: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode(), values or None).fetchone()
    require(row is not None, "the database has no answer")
    return row or ()


def _say_run(before: str, *command: str) -> None:
    console.print(f"{before} [bold]assay {' '.join(command)}[/]")
