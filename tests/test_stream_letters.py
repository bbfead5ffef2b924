"""Dead letters of streams reach Kafka and come back."""

import json
import secrets
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from impostor import answers
from streams import ONCE, Stream, gives_up, headers, record
from system import System


def test_letters_reach_the_topic_and_come_back(
    stream: Stream, make_system: Callable[[], System]
) -> None:
    """With the record's own key and bytes; what succeeds later is closed; each is told once."""
    stream.make()
    stream.api.behaviour = gives_up
    stream.put(record("t-1"), b"no json", None, record("t-2"), record("t-3", side="left"))
    assert stream.consume().summary["rejected"] == 4
    done = stream.run(*ONCE, "--no-retry")
    assert (done.exit_code, done.summary["published"]) == (0, 4), done.errors
    assert stream.run(*ONCE, "--no-retry").exit_code == 99

    found = {each.value(): each for each in stream.on("dead")}
    assert found.keys() == {b"no json", None, record("t-2"), record("t-3", side="left")}
    assert found[b"no json"].key() == b"key 1"
    told = headers(found[record("t-3", side="left")])
    assert told["__connect.errors.topic"] == stream.topic
    assert told["__connect.errors.partition"] == "1"
    assert told["__connect.errors.offset"] == "4"
    assert (told["assay.code"], told["assay.field"]) == ("invalid_side", "side")
    made = told["assay.topic.id"]
    assert told["assay.id"] == f"kafka/{stream.topic}/1#{made}@4"

    stream.api.behaviour = answers
    done = stream.run(*ONCE)
    assert done.exit_code == 0, done.errors
    assert (done.summary["retried"], done.summary["closed"]) == (1, 1)
    assert stream.run(*ONCE).exit_code == 99
    assert stream.balances()

    events = stream.events()
    rejected = [each for each in events if each["event"] == "rejected"]
    assert sorted(each["id"] for each in rejected) == sorted(stream.origins())
    assert "LEEDS" not in json.dumps(events)
    states = Counter((each.get("service"), each["event"]) for each in events)
    assert states["stream", "started"] == states["stream", "stopped"] == 1
    assert states["dead-letters", "started"] == states["dead-letters", "stopped"] == 4

    other = make_system()
    other.environment |= stream.system.environment | {
        "ASSAY_POSTGRES__URL": other.environment["ASSAY_POSTGRES__URL"]
    }
    producer = Producer({"bootstrap.servers": stream.servers})
    producer.produce(f"{stream.name}-dead", b"foreign")
    assert producer.flush(10) == 0
    take = ("dead-letters", "import", "--topic", f"{stream.name}-dead")
    done = other.quick(*take)
    counts = [done.summary[name] for name in ("read", "imported", "known", "foreign")]
    assert (done.exit_code, counts) == (0, [4, 4, 0, 1]), done.errors
    assert other.quick(*take).exit_code == 99
    assert stream.run(*take).exit_code == 99
    assert other.quick("reconcile", "--json").exit_code == 0
    columns = "source, partition, topic_id, position, key, raw, length, code, field, attempt"
    rows = f"SELECT {columns}, run_id FROM dead_letters ORDER BY position"  # noqa: S608 - ours
    assert other.query(rows) == stream.system.query(rows)


def test_letters_keep_their_origin_when_their_topic_is_made_anew(
    stream: Stream, make_system: Callable[[], System], tmp_path: Path
) -> None:
    """No import takes in again what is known of either topic; redrives close letters of both."""
    lines = tmp_path / "letters.jsonl"
    export = ("dead-letters", "export", "--format", "jsonl", "--out", str(lines), "--force")
    take = ("dead-letters", "import", "--topic", f"{stream.name}-dead")
    put = (record("t-1"), record("t-2", currency=None), b"no json")
    stream.make()
    stream.put(*put)
    assert stream.consume().summary["rejected"] == 2
    assert stream.run(*ONCE, "--no-retry").summary["published"] == 2
    assert stream.run(*export).exit_code == 0

    stream.delete()
    stream.make()
    assert stream.run("stream", "accept-gap").exit_code == 0
    assert stream.run(*take).exit_code == stream.run(*take[:2], str(lines)).exit_code == 99
    stream.put(*put)
    assert stream.consume().summary["rejected"] == 2
    assert stream.run(*ONCE, "--no-retry").summary["published"] == 2
    assert stream.run(*export).exit_code == 0
    assert stream.run(*take).exit_code == stream.run(*take[:2], str(lines)).exit_code == 99
    origins = stream.origins()
    assert (len(origins), set(origins.values())) == (4, {1})
    assert stream.balances()

    redrive = ("dead-letters", "redrive", "--all", "--edit", "currency=EUR")
    done = stream.run(*redrive)
    assert (done.exit_code, done.summary["closed"], done.summary["rejected"]) == (0, 2, 2)
    assert stream.run(*ONCE, "--no-retry").summary["published"] == 2
    again = stream.origins()
    assert (again.keys(), again.total()) == (origins.keys(), 6)
    assert stream.run(*take).exit_code == 99
    assert stream.balances()

    other = make_system()
    other.environment |= stream.system.environment | {
        "ASSAY_POSTGRES__URL": other.environment["ASSAY_POSTGRES__URL"]
    }
    assert other.quick(*take[:2], str(lines)).summary["imported"] == 4
    assert other.quick(*take).summary["renewed"] == 2
    assert other.quick(*take).exit_code == 99
    assert other.quick("reconcile", "--json").exit_code == 0


def test_what_fails_again_is_left_to_people_after_a_while(stream: Stream) -> None:
    """Each attempt is published; after the last one allowed it is not tried again."""
    stream.make()
    stream.api.behaviour = gives_up
    stream.put(record("t-2"))
    assert stream.consume().summary["rejected"] == 1
    for _ in range(2):
        done = stream.run(*ONCE, "--max-attempts", "3")
        assert (done.exit_code, done.summary["failed_again"]) == (0, 1), done.errors
    assert stream.run(*ONCE, "--max-attempts", "3").exit_code == 99
    assert [headers(each)["assay.attempt"] for each in stream.on("dead")] == ["1", "2", "3"]
    assert stream.balances()


def test_a_letter_that_its_topic_does_not_take_holds_up_no_other(stream: Stream) -> None:
    """It waits, set aside, and is said to; when there is room it is published, the others once."""
    admin: Any = AdminClient({"bootstrap.servers": stream.servers})  # its stubs are partial
    dead = f"{stream.name}-dead"
    wanted = NewTopic(dead, 1, config={"max.message.bytes": "1800"})
    admin.create_topics([wanted])[dead].result(30)
    stream.make()
    stream.put(record(secrets.token_hex(100_000)), *(b"no json %d" % each for each in range(5)))
    assert stream.consume().summary["rejected"] == 6
    assert stream.system.query("SELECT max(length(transaction_id)) FROM dead_letters") == [(128,)]
    change = "UPDATE dead_letters SET {} WHERE position = {}"
    stream.system.execute(change.format(f"code = '{secrets.token_urlsafe(1_900)}'", 1))
    # One for a file that no run publishes any more is none of this service's.
    stream.system.execute(change.format("destination = 'file:///gone'", 2))

    done = stream.run(*ONCE, "--no-retry")
    summary = done.summary["status"], done.summary["published"]
    assert (done.exit_code, *summary) == (75, "held", 4), done.errors
    assert f"kafka/{stream.topic}/1#" in done.errors
    assert "max.message.bytes" in done.errors
    done = stream.run(*ONCE, "--no-retry")
    assert (done.exit_code, done.summary["status"]) == (75, "held"), done.errors
    stream.system.execute(change.format("code = 'x', leased_until = now()", 1))
    assert stream.run(*ONCE, "--no-retry").summary["published"] == 1
    assert stream.run(*ONCE, "--no-retry").exit_code == 99
    origins = stream.origins()
    assert (len(origins), set(origins.values())) == (5, {1})


def test_what_was_claimed_is_given_back(stream: Stream) -> None:
    """Where the topic was away for one that publishes once, the next one publishes at once."""
    stream.rejected("x", "y")
    assert stream.run(*ONCE, "--no-retry").exit_code == 75
    stream.make()
    done = stream.run(*ONCE, "--no-retry")
    assert (done.exit_code, done.summary["published"]) == (0, 2), done.errors


def test_a_letter_is_not_tried_before_it_is_due(stream: Stream) -> None:
    """The delay counts from its commit."""
    stream.make()
    stream.api.behaviour = gives_up
    stream.put(record("t-2"))
    stream.consume()
    done = stream.run(*ONCE[:3], "--retry-delay", "3600")
    assert (done.summary["published"], done.summary["retried"]) == (1, 0)


def test_a_record_that_is_too_long_is_read_again_where_it_came_from(stream: Stream) -> None:
    """A redrive takes the whole of it from the topic; its letter holds the head only."""
    admin: Any = AdminClient({"bootstrap.servers": stream.servers})  # its stubs are partial
    config = {"max.message.bytes": str(4 << 20)}
    wanted = NewTopic(stream.topic, 3, config=config)
    admin.create_topics([wanted])[stream.topic].result(30)
    stream.make()
    long = record("t-1").replace(b",", b"," + b" " * (1 << 20), 1)
    producer = Producer({"bootstrap.servers": stream.servers, "message.max.bytes": 4 << 20})
    producer.produce(stream.topic, long, partition=0)
    assert producer.flush(10) == 0
    assert stream.consume().summary["rejected"] == 1
    done = stream.run(*ONCE)
    assert (done.summary["published"], done.summary["retried"]) == (1, 0), done.errors
    (message,) = stream.on("dead")
    assert (message.value(), headers(message)["assay.length"]) == (long[: 1 << 20], str(len(long)))
    done = stream.run("dead-letters", "redrive", "--code", "record_too_long")
    assert (done.exit_code, done.summary["closed"]) == (0, 1), done.errors
