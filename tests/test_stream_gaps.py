"""A topic that loses records before they are read: never a silent loss."""

import os
import signal
from typing import Any

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from streams import Stream, cut, record, until

from assay_local import topics


def records(first: int, next_: int) -> list[bytes]:
    return [record(f"t-{number}") for number in range(first, next_)]


def make_anew(stream: Stream, partitions: int) -> None:
    stream.delete()
    topics.create(stream.servers, stream.topic, partitions=partitions)


def differences(stream: Stream) -> list[str]:
    done = stream.run("reconcile", "--json")
    found = [each["what"] for each in done.summary["differences"]]
    assert done.exit_code == (65 if found else 0), done.summary
    return found


def test_what_is_gone_stops_the_consumer_until_somebody_accepts_it(stream: Stream) -> None:
    """Retention and a topic made anew: explained, in the books once accepted, and read on."""
    accept = ("stream", "accept-gap", "--topic", stream.topic)
    stream.make()
    stream.put(*records(0, 30), partition=0)
    done = stream.consume()
    assert (done.exit_code, done.summary["classified"]) == (0, 30), done.errors
    assert stream.run(*accept).exit_code == 99

    stream.put(*records(30, 60), partition=0)
    cut(stream, stream.topic, 0, 50)
    done = stream.consume()
    assert (done.exit_code, done.summary["read"]) == (78, 0)
    assert "20 offsets" in done.errors
    assert f"assay stream accept-gap --topic {stream.topic}" in done.errors
    assert differences(stream) == ["offsets deleted before they were read"]

    done = stream.run(*accept, "--dry-run")
    assert done.summary["status"] == "dry_run"
    assert "nothing was changed" in done.errors
    assert differences(stream) == ["offsets deleted before they were read"]
    deleted = [{"partition": "0", "first": 30, "next": 50}]
    done = stream.run(*accept)
    assert done.summary["deleted"] == deleted
    assert "accepted: what was deleted is in the books" in done.errors
    done = stream.consume("--topic", stream.topic, "--from", "latest")
    assert (done.exit_code, done.summary["classified"]) == (0, 10), done.errors
    assert done.errors.count("reading goes on where the books stand") == 1
    books = stream.run("reconcile", "--json")
    assert (books.exit_code, [each["next"] for each in books.summary["gaps"]]) == (0, [50])

    make_anew(stream, 3)
    stream.put(*records(0, 100), partition=0)  # The position is an offset of the new one, too.
    done = stream.consume()
    assert (done.exit_code, done.summary["read"]) == (78, 0)
    assert "made anew" in done.errors
    assert differences(stream) == ["topics made anew since they were read"] * 3
    old = [
        {"partition": name, "next": stands} for name, stands in zip("012", (60, 0, 0), strict=True)
    ]
    assert stream.run(*accept).summary["replaced"] == old
    done = stream.consume()
    assert (done.exit_code, done.summary["read"], done.summary["duplicate"]) == (0, 100, 40)
    books = stream.run("reconcile", "--json")
    assert books.exit_code == 0, books.summary
    assert [each["next"] for each in books.summary["topics"]] == [100, 0, 0]


@pytest.mark.parametrize("read", [0, 5], ids=["none", "others"])
def test_what_is_gone_from_a_partition_that_was_never_read_stops_the_consumer(
    stream: Stream, read: int
) -> None:
    """Whatever was read of the other partitions, also nothing: it began when the topic did."""
    stream.make()
    stream.put(*records(0, read), partition=0)
    done = stream.consume()
    assert (done.exit_code, done.summary["classified"]) == (0, read), done.errors
    stream.put(*records(10, 20))
    cut(stream, stream.topic, 1, 6)
    lost_6(stream)
    books = stream.run("reconcile", "--json").summary
    assert [each["next"] for each in books["topics"]] == [read, 10, 0]
    assert stream.system.query("SELECT count(*) FROM runs WHERE kind = 'begin'") == [(1,)]


def test_what_is_gone_from_a_partition_that_was_added_stops_the_consumer(stream: Stream) -> None:
    """Before anybody has seen it: it is read from its beginning, and that is gone."""
    stream.make()
    assert stream.consume().exit_code == 0
    admin: Any = AdminClient({"bootstrap.servers": stream.servers})  # its stubs are partial
    more = NewPartitions(stream.topic, 4)
    admin.create_partitions([more])[stream.topic].result(30)
    stream.put(*records(10, 20), partition=3)
    cut(stream, stream.topic, 3, 6)
    lost_6(stream)


def lost_6(stream: Stream) -> None:
    """The first 6 of 10 records are gone: it is told by all, and accepted."""
    accept = ("stream", "accept-gap", "--topic", stream.topic)
    assert differences(stream) == ["offsets deleted before they were read"]
    done = stream.consume()
    assert (done.exit_code, done.summary["read"]) == (78, 0)
    assert "6 offsets" in done.errors
    (deleted,) = stream.run(*accept).summary["deleted"]
    assert (deleted["first"], deleted["next"]) == (0, 6)
    assert stream.run(*accept).exit_code == 99
    done = stream.consume()
    assert (done.exit_code, done.summary["read"]) == (0, 4), done.errors
    assert differences(stream) == []


def test_partitions_that_are_gone_are_put_aside(stream: Stream) -> None:
    """Of a topic made anew with fewer, and of one that is gone; the run is done when that is."""
    accept = ("stream", "accept-gap", "--topic", stream.topic)

    def statuses() -> list[Any]:
        asked = "SELECT status FROM runs WHERE kind = 'accept-gap' ORDER BY started_at"
        return stream.system.query(asked)

    stream.make()
    stream.put(*records(0, 3), partition=0)
    stream.put(*records(3, 5), partition=2)
    done = stream.consume()
    assert (done.exit_code, done.summary["classified"]) == (0, 5), done.errors
    make_anew(stream, 1)
    made_anew = "topics made anew since they were read"
    assert differences(stream) == [made_anew, *["partitions that the topic has not"] * 2]

    with psycopg.connect(stream.system.environment["ASSAY_POSTGRES__URL"]) as connection:
        connection.execute("SELECT FROM positions FOR UPDATE")
        killed = stream.system.fork(*accept)
        while not statuses():
            assert killed.process.is_alive()
        killed.process.kill()
        killed.process.join()
    assert statuses() == [(None,)]
    done = stream.run(*accept)
    gone = [{"partition": name, "next": at} for name, at in zip("012", (3, 0, 2), strict=True)]
    assert (done.exit_code, done.summary["replaced"]) == (0, gone), done.errors
    assert statuses() == [(None,), ("done",)]
    assert differences(stream) == []

    stream.delete()
    assert differences(stream) == ["topics that are gone"]
    assert stream.run(*accept).summary["replaced"] == [{"partition": "0", "next": 0}]
    assert differences(stream) == []
    done = stream.run(*accept)
    assert done.exit_code == 78
    assert f"neither a topic {stream.topic} nor books of one" in done.errors
    assert "accept-gap" not in done.errors


def test_a_group_whose_books_are_on_topics_goes_on_the_same_way(stream: Stream) -> None:
    """A classifier: its message names the command, and its ledger has the gap."""
    group = f"{stream.name}-classify"
    accept = ("stream", "accept-gap", "--topic", stream.topic, "--group", group)
    classify = ("stream", "classify", "--until-idle", "0.3")
    stream.make()
    assert stream.run(*accept).exit_code == 78
    stream.put(*records(0, 30), partition=0)
    assert stream.run(*classify).summary["classified"] == 30
    assert stream.run(*accept).exit_code == 99

    stream.put(*records(30, 60), partition=0)
    cut(stream, stream.topic, 0, 50)
    done = stream.run(*classify)
    assert (done.exit_code, done.summary["read"]) == (78, 0)
    assert " ".join(("assay", *accept)) in done.errors
    assert stream.run(*accept, "--dry-run").summary["status"] == "dry_run"
    assert stream.run(*classify).exit_code == 78
    done = stream.run(*accept)
    assert (done.exit_code, len(done.summary["deleted"])) == (0, 1), done.errors
    done = stream.run(*classify)
    assert (done.exit_code, done.summary["classified"]) == (0, 10), done.errors
    entries = [(each["first"], each["next"], each["read"]) for each in stream.values("ledger")]
    assert [each for each in entries if each[1] > each[0]] == [
        (0, 30, 30),
        (30, 50, 0),
        (50, 60, 10),
    ]

    make_anew(stream, 3)  # with which Kafka forgets the group's offsets
    stream.put(*records(0, 20), partition=0)
    assert stream.run(*classify).summary["classified"] == 20


def test_a_group_that_has_members_is_left_alone(stream: Stream) -> None:
    """One that was frozen may go on at any time: nobody moves its offsets."""
    group = f"{stream.name}-classify"
    accept = ("stream", "accept-gap", "--topic", stream.topic, "--group", group)
    stream.make()
    stream.put(*records(0, 30), partition=0)
    running = stream.system.fork("stream", "classify", "--instance-id", "only")
    until(lambda: len(stream.on("predictions")) == 30)
    pid = running.process.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    stream.put(*records(30, 60), partition=0)
    cut(stream, stream.topic, 0, 50)
    done = stream.run(*accept)
    assert (done.exit_code, done.summary["status"]) == (75, "failed"), done.errors
    assert "has 1 member: stop them first" in " ".join(done.errors.split())
    running.process.kill()
    running.process.join()
