"""Where reading begins: late where that is asked for, and never later because of a restart."""

import json
import signal
from typing import Any

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
