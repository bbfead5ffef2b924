"""A consumer's life: it ends as it is asked to, tells whether it lives, and shares with others."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
from chaos.driver import Books, Record, Stream, Topic, load, prove, wait_for

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


def test_nothing_to_do_is_alive(stream: Stream) -> None:
    """An empty topic is no halt."""
    runner = stream.start(ASSAY_STREAM__STALL="1.2")
    wait_for(lambda: runner.asks("/health/ready")[0] == 200)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert runner.asks("/health/live")[0] == 200
        time.sleep(0.1)


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
