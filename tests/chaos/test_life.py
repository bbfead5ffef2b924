"""A consumer's life: it ends as it is asked to, tells whether it lives, and shares with others."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from chaos.driver import (
    PARTITIONS,
    Books,
    Record,
    Runner,
    Stream,
    Topic,
    codes,
    load,
    numbered,
    prove,
    wait_for,
)
from confluent_kafka import Producer

from assay_local import topics


def test_a_signal_drains(stream: Stream, undisturbed: Callable[[list[Record]], Books]) -> None:
    """SIGTERM: exit 0, what was read is committed and Kafka knows of it; the next one goes on."""
    records = load(6_000)
    stream.topic.put(records)
    runner = stream.start()
    stream.wait_read(300)
    runner.stop()
    assert runner.end() == 0
    assert runner.summary["status"] == "stopped"
    read = stream.read()
    assert runner.summary["read"] == read < len(records)
    stands = stream.stands()
    assert {name: at for name, at in stream.topic.committed(stream.group).items() if at >= 0} == {
        name: at for name, at in stands.items() if at
    }
    stream.start()
    stream.finish()
    assert stream.topic.committed(stream.group) == stream.topic.ends()
    prove(stream, undisturbed(records))


def test_a_second_signal_ends_at_once(
    stream: Stream, undisturbed: Callable[[list[Record]], Books]
) -> None:
    """Whatever it waits for, and nothing is lost by it."""
    records = load(6_000)
    stream.topic.put(records)
    runner = stream.start()
    stream.wait_read(300)
    with psycopg.connect(stream.system.environment["ASSAY_POSTGRES__URL"]) as connection:
        connection.execute("LOCK TABLE positions IN ACCESS EXCLUSIVE MODE")
        runner.stop()
        wait_for(lambda: "a second signal ends at once" in runner.log)
        time.sleep(0.3)
        assert runner.process.is_alive()
        runner.stop()
        assert runner.end(seconds=2) == -signal.SIGTERM
    stream.runners.remove(runner)
    stream.start()
    stream.finish()
    prove(stream, undisturbed(records))


def test_a_loop_that_hangs_is_not_alive(stream: Stream) -> None:
    """Liveness fails while the loop is stuck, in a question to the database; then it is back."""
    stream.topic.put(load(300))
    with psycopg.connect(stream.system.environment["ASSAY_POSTGRES__URL"]) as connection:
        connection.execute("LOCK TABLE positions IN ACCESS EXCLUSIVE MODE")
        runner = stream.start(ASSAY_STREAM__STALL="1.5", ASSAY_POSTGRES__LOCK_TIMEOUT="30")
        wait_for(lambda: runner.asks("/health/live")[0] == 503)
        connection.rollback()
    wait_for(lambda: runner.asks("/health/live")[0] == 200)
    stream.finish()


def is_alive_for(runner: Runner, seconds: float) -> bool:
    """Whether it says that it is alive, whenever it is asked meanwhile."""
    until = time.monotonic() + seconds
    alive: set[int] = set()
    while time.monotonic() < until:
        alive.add(runner.asks("/health/live")[0])
        time.sleep(0.1)
    return alive == {200}


def test_nothing_to_do_is_alive(stream: Stream) -> None:
    """An empty topic is no halt."""
    runner = stream.start(ASSAY_STREAM__STALL="1.2")
    wait_for(lambda: runner.asks("/health/ready")[0] == 200)
    assert is_alive_for(runner, 3)


def opened(topic: Topic, records: list[Record]) -> Producer:
    """A producer whose transaction with these records is open; they are on the topic."""
    producer = Producer({"bootstrap.servers": topic.servers, "transactional.id": topic.name})
    producer.init_transactions(30)
    producer.begin_transaction()
    for each in records:
        producer.produce(topic.name, each.value, each.key, each.partition)
    assert producer.flush(30) == 0
    return producer


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(0, id="from the beginning", marks=pytest.mark.chaos),
        pytest.param(30, id="after records"),
    ],
)
def test_an_open_transaction_is_no_halt(stream: Stream, before: int) -> None:
    """Longer open than the stall: nothing can be read, and nothing is late; then it is read."""
    records = numbered(before + 60)
    stream.topic.put(records[:before])
    producer = opened(stream.topic, records[before : before + 30])
    runner = stream.start(ASSAY_STREAM__STALL="1.2")

    def lag() -> int | None:
        return json.loads(runner.asks("/health/ready")[1]).get("lag")

    wait_for(lambda: lag() == 0)
    # Records of others that come after it cannot be read either.
    stream.topic.put(records[before + 30 :])
    assert is_alive_for(runner, 2)
    assert stream.read() == before
    producer.commit_transaction(30)
    stream.wait_read(before + 60)
    wait_for(lambda: lag() == 0)


def test_it_ends_by_itself_once_all_is_committed(stream: Stream) -> None:
    """With 0 and all in the books, whatever is on the topic; what cannot be read yet, later."""

    def read(records: int) -> None:
        runner = stream.start("--until-idle", "0")
        assert runner.end(seconds=30) == 0, runner.log
        assert runner.summary["status"] == "stopped"
        assert runner.summary["read"] == records

    read(0)
    stream.topic.put([Record(number % PARTITIONS, b"key", None) for number in range(300)])
    read(300)
    assert codes(stream.system) == {"empty_record": 300}
    records = numbered(2_030)
    stream.topic.put(records[:2_000])
    producer = opened(stream.topic, records[2_000:])
    read(2_000)
    producer.commit_transaction(30)
    read(30)
    assert stream.system.query("SELECT count(*) FROM transactions") == [(2_030,)]
    assert stream.system.quick("reconcile", "--json").exit_code == 0


def test_the_lag_reaches_nothing(stream: Stream) -> None:
    """Health and metrics tell how much is still to come."""
    stream.topic.put(load(1_000))
    runner = stream.start()
    stream.wait_done()

    def lags() -> list[str]:
        text = runner.asks("/metrics")[1].decode()
        return [line for line in text.splitlines() if line.startswith("assay_lag_records{")]

    wait_for(lambda: len(lags()) == 3 and all(line.endswith(" 0.0") for line in lags()))
    assert json.loads(runner.asks("/health/ready")[1])["lag"] == 0


LEAPING = """
import random, time
_true, _off = time.time, [0.0]
def leaping():
    if random.random() < 0.2:
        _off[0] = random.choice([-86_400.0, -3_600.0, 0.0, 3_600.0, 86_400.0 * 400])
    return _true() + _off[0]
time.time = leaping
"""


def test_a_wall_clock_that_leaps_moves_nothing(
    stream: Stream, undisturbed: Callable[[list[Record]], Books], tmp_path: Path
) -> None:
    """Set back and forward by hours between any two looks: pauses, retries and durations hold."""
    (tmp_path / "sitecustomize.py").write_text(LEAPING)
    records = load(6_000)
    expected = undisturbed(records)
    stream.topic.put(records)
    system = stream.system
    began = time.monotonic()
    done = system.run(
        "stream",
        "consume",
        "--until-idle",
        "1",
        PYTHONPATH=str(tmp_path),
        ASSAY_KAFKA__BOOTSTRAP_SERVERS=stream.topic.servers,
        ASSAY_STREAM__TOPIC=stream.topic.name,
        ASSAY_STREAM__GROUP=stream.group,
        ASSAY_STREAM__CHUNK_RECORDS="100",
    )
    assert done.exit_code == 0, done.errors
    assert 1 < done.summary["seconds"] < time.monotonic() - began
    prove(stream, expected)


def test_two_topics_share_a_database(stream: Stream, kafka_servers: str) -> None:
    """Each has books of its own; what both hold is known when it comes again."""
    other = Topic(kafka_servers, topics.create(kafka_servers, f"{stream.topic.name}-other"))
    records = load(1_000, faults=0)
    for each in (stream.topic, other):
        each.put(records)
    runners = [
        stream.start("--topic", each.name, "--group", each.name, "--until-idle", "0.5")
        for each in (stream.topic, other)
    ]
    assert [each.end() for each in runners] == [0, 0]
    assert stream.system.balances()
    ((read, classified),) = stream.system.query(
        "SELECT array_agg(DISTINCT read), sum(classified)::int FROM (SELECT sum(read)::int AS read,"
        " sum(classified) AS classified FROM ledger GROUP BY source)"
    )
    ids = {json.loads(each.value or b"")["transaction_id"] for each in records}
    assert (read, classified) == ([len(records)], len(ids))


def test_two_groups_on_one_topic_and_database_write_nothing_twice(
    stream: Stream, undisturbed: Callable[[list[Record]], Books]
) -> None:
    """A mistake, since the books are of the topic: whoever comes second to a range gives way."""
    records = load(6_000)
    expected = undisturbed(records)
    stream.topic.put(records)
    stream.start()
    stream.start("--group", f"{stream.group}-other")
    stream.finish()
    prove(stream, expected)
