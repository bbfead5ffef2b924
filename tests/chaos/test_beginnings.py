"""Where reading begins: late where that is asked for, and never later because of a restart."""

import json
import signal
from typing import Any

import psycopg
import pytest
from chaos.driver import PARTITIONS, Record, Stream, numbered, wait_for
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

LATE = ("--from", "latest")


@pytest.mark.parametrize("end", [pytest.param("stop", marks=pytest.mark.chaos), "kill"])
def test_what_came_while_it_was_down_is_read(stream: Stream, end: str) -> None:
    """Reading began late: a restart does not begin late again, though nothing came before it."""
    records = numbered(90)
    stream.topic.put(records[:30])
    runner = stream.start(*LATE)
    stream.wait_done()
    if end == "kill":
        runner.kill()
    else:
        runner.stop()
        assert runner.end() == 0
    stream.topic.put(records[30:60])
    stream.start(*LATE)
    stream.wait_read(30)
    stream.topic.put(records[60:])
    stream.finish()
    assert stream.system.query("SELECT count(*) FROM transactions") == [(60,)]
    assert stream.system.quick("reconcile", "--json").exit_code == 0


def test_what_is_deleted_before_its_partition_was_ever_committed_stops_it(stream: Stream) -> None:
    """Under a consumer that has placed it: nothing had come there so far."""
    stream.topic.put([each for each in numbered(30) if each.partition == 0])
    runner = stream.start(ASSAY_KAFKA__PROPERTIES="{}")
    stream.wait_done()
    wait_for(lambda: json.loads(runner.asks("/health/ready")[1])["lag"] == 0)
    runner.signal(signal.SIGSTOP)
    stream.topic.put([each for each in numbered(30) if each.partition == 1])
    stream.topic.cut(1, 6)
    runner.signal(signal.SIGCONT)
    assert runner.end() == 78
    assert "6 offsets" in runner.log
    assert stream.read() == 10


@pytest.mark.chaos
def test_consumers_that_begin_at_once_begin_once(stream: Stream) -> None:
    """And who comes after those that were killed before their first commit does not begin again."""
    stream.topic.put(numbered(30))
    books = stream.system.environment["ASSAY_POSTGRES__URL"]
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO positions%'"
    with psycopg.connect(books) as holds_commits, psycopg.connect(books) as holds_beginnings:
        holds_commits.execute("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")
        holds_beginnings.execute("LOCK TABLE positions IN SHARE MODE")
        # Of one group the second would get no partitions while the first waits.
        patient = {"ASSAY_POSTGRES__LOCK_TIMEOUT": "60"}
        groups = [{"ASSAY_STREAM__GROUP": f"{stream.group}-{each}"} for each in range(2)]
        runners = [stream.start(**patient, **each) for each in groups]
        wait_for(lambda: stream.system.query(waiting) == [(2,)], why=stream.said)
        holds_beginnings.rollback()
        wait_for(lambda: all(b'"lag": 30' in each.asks("/health/ready")[1] for each in runners))
        for each in runners:
            each.kill()
    assert stream.stands() == {"0": 0, "1": 0, "2": 0}
    stream.start()
    stream.finish()
    assert stream.system.query("SELECT count(*) FROM runs WHERE kind = 'begin'") == [(1,)]
    assert stream.system.quick("reconcile", "--json").exit_code == 0


@pytest.mark.parametrize("start", [pytest.param("earliest", marks=pytest.mark.chaos), "latest"])
def test_partitions_that_are_added_are_read_from_their_beginning(
    stream: Stream, start: str
) -> None:
    """A topic that grows under a consumer: what is new began after the reading did."""
    stream.topic.put(numbered(30))
    properties = {"topic.metadata.refresh.interval.ms": "500", "heartbeat.interval.ms": "300"}
    runner = stream.start("--from", start, ASSAY_KAFKA__PROPERTIES=json.dumps(properties))
    stream.wait_done()
    runner.signal(signal.SIGSTOP)  # it sees them when there is something in them
    admin: Any = AdminClient({"bootstrap.servers": stream.topic.servers})  # its stubs are partial
    name = stream.topic.name
    admin.create_partitions([NewPartitions(name, PARTITIONS + 2)])[name].result(30)
    wait_for(lambda: len(admin.list_topics(name, timeout=10).topics[name].partitions) == 5)
    stream.topic.logs |= {"3": [], "4": []}
    records = numbered(60)[30:]
    stream.topic.put([Record(3 + number % 2, *each[1:]) for number, each in enumerate(records)])
    runner.signal(signal.SIGCONT)
    stream.finish()
    read = 60 if start == "earliest" else 30
    assert stream.system.query("SELECT count(*) FROM transactions") == [(read,)]
    assert stream.system.quick("reconcile", "--json").exit_code == 0
