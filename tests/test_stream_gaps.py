"""A topic that loses records before they are read: never a silent loss."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from system import Done, System

IDLE = ("--until-idle", "0.5")


def record(number: int) -> bytes:
    return json.dumps(
        {
            "transaction_id": f"t{number}",
            "description": "CORNER BISTRO LEEDS",
            "amount": "12.50",
            "currency": "EUR",
            "timestamp": "2026-01-02T10:11:12Z",
            "operation_type": "payment",
            "side": "debit",
        }
    ).encode()


@pytest.fixture
def produce(kafka_servers: str) -> Callable[[str, int, Sequence[int]], None]:
    """Puts records of these numbers on a partition."""

    def put(topic: str, partition: int, numbers: Sequence[int]) -> None:
        producer = Producer({"bootstrap.servers": kafka_servers})
        for each in numbers:
            producer.produce(topic, record(each), partition=partition)
        assert producer.flush(10) == 0

    return put


def test_what_is_gone_stops_the_consumer_until_somebody_accepts_it(
    system: System,
    kafka_servers: str,
    topic: str,
    produce: Callable[[str, int, Sequence[int]], None],
) -> None:
    """Retention and a topic made anew: explained, in the books once accepted, and read on."""
    system.environment["ASSAY_KAFKA__BOOTSTRAP_SERVERS"] = kafka_servers
    admin: Any = AdminClient({"bootstrap.servers": kafka_servers})  # its stubs are partial

    def consume() -> Done:
        return system.run("stream", "consume", "--topic", topic, *IDLE)

    def accept(*arguments: str) -> Done:
        return system.run("stream", "accept-gap", "--topic", topic, *arguments)

    def difference() -> str:
        done = system.run("reconcile", "--json")
        assert done.exit_code == 65
        (found,) = done.summary["differences"]
        return found["what"]

    produce(topic, 0, range(30))
    done = consume()
    assert (done.exit_code, done.summary["classified"]) == (0, 30), done.errors
    assert accept().exit_code == 99

    produce(topic, 0, range(30, 60))
    cut = TopicPartition(topic, 0, 50)
    admin.delete_records([cut])[cut].result()
    done = consume()
    assert (done.exit_code, done.summary["read"]) == (78, 0)
    assert "20 offsets" in done.errors
    assert f"assay stream accept-gap --topic {topic}" in done.errors
    assert difference() == "offsets deleted before they were read"

    assert accept("--dry-run").summary["status"] == "dry_run"
    assert difference() == "offsets deleted before they were read"
    assert accept().summary["deleted"] == [{"partition": "0", "first": 30, "next": 50}]
    done = system.run("stream", "consume", "--topic", topic, "--from", "latest", *IDLE)
    assert (done.exit_code, done.summary["classified"]) == (0, 10), done.errors
    assert done.errors.count("reading goes on where the books stand") == 1
    books = system.run("reconcile", "--json")
    assert (books.exit_code, [each["next"] for each in books.summary["gaps"]]) == (0, [50])

    admin.delete_topics([topic])[topic].result()
    admin.create_topics([NewTopic(topic, 3, 1)])[topic].result()
    produce(topic, 0, range(100))  # The position is an offset of the new one, too.
    done = consume()
    assert (done.exit_code, done.summary["read"]) == (78, 0)
    assert "made anew" in done.errors
    assert difference() == "topics made anew since they were read"
    assert accept().summary["replaced"] == [{"partition": "0", "next": 60}]
    done = consume()
    assert (done.exit_code, done.summary["read"], done.summary["duplicate"]) == (0, 100, 40)
    books = system.run("reconcile", "--json")
    assert books.exit_code == 0, books.summary
    assert [each["next"] for each in books.summary["topics"]] == [100, None, None]


def test_partitions_that_are_gone_are_put_aside(
    system: System,
    kafka_servers: str,
    topic: str,
    produce: Callable[[str, int, Sequence[int]], None],
) -> None:
    """Of a topic made anew with fewer, and of one that is gone; the run is done when that is."""
    system.environment["ASSAY_KAFKA__BOOTSTRAP_SERVERS"] = kafka_servers
    admin: Any = AdminClient({"bootstrap.servers": kafka_servers})  # its stubs are partial
    accept = ("stream", "accept-gap", "--topic", topic)

    def differences() -> list[str]:
        return [each["what"] for each in system.quick("reconcile", "--json").summary["differences"]]

    def statuses() -> list[Any]:
        return system.query("SELECT status FROM runs WHERE kind = 'accept-gap' ORDER BY started_at")

    produce(topic, 0, range(3))
    produce(topic, 2, range(3, 5))
    done = system.quick("stream", "consume", "--topic", topic, *IDLE)
    assert (done.exit_code, done.summary["classified"]) == (0, 5), done.errors
    admin.delete_topics([topic])[topic].result()
    admin.create_topics([NewTopic(topic, 1, 1)])[topic].result()
    made_anew = "topics made anew since they were read"
    assert differences() == [made_anew, "partitions that the topic has not"]

    with psycopg.connect(system.environment["ASSAY_POSTGRES__URL"]) as connection:
        connection.execute("SELECT FROM positions FOR UPDATE")
        killed = system.fork(*accept)
        while not statuses():
            assert killed.process.is_alive()
        killed.process.kill()
        killed.process.join()
    assert statuses() == [(None,)]
    done = system.quick(*accept)
    gone = [{"partition": "0", "next": 3}, {"partition": "2", "next": 2}]
    assert (done.exit_code, done.summary["replaced"]) == (0, gone), done.errors
    assert statuses() == [(None,), ("done",)]
    assert differences() == []

    admin.delete_topics([topic])[topic].result()
    assert differences() == ["topics that are gone"]
    assert system.quick(*accept).summary["replaced"] == [{"partition": "0", "next": 0}]
    assert differences() == []
    assert system.quick(*accept).exit_code == 78
