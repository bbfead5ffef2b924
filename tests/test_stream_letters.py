"""Dead letters of streams reach Kafka and come back."""

import json
import os
import secrets
import signal
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from impostor import Answer, Impostor, Reply, answers, impostor
from pydantic import SecretStr
from system import Done, System

from assay.domain.chunk import Chunk
from assay.domain.errors import Denied, Fatal
from assay.pipeline.letters import Reading, decode
from assay.pipeline.pump import Policy
from assay.testing.frames import outcome
from assay_adapters.environment.settings import load
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.store import PostgresStore
from assay_local import Local, topics
from assay_streaming.bootstrap import ConsumerSettings, dead_letter_service
from assay_streaming.dead_letters import Request, Result, dead_letters

CODE = "invalid_json"
ONCE = ("stream", "dead-letters", "--once", "--retry-delay", "0")


def record(name: str, **members: object) -> bytes:
    return json.dumps(
        {
            "transaction_id": name,
            "description": "CORNER BISTRO LEEDS",
            "amount": "12.50",
            "currency": "EUR",
            "timestamp": "2026-01-02T10:11:12Z",
            "operation_type": "payment",
            "side": "debit",
        }
        | members
    ).encode()


@pytest.fixture
def api() -> Iterator[Impostor]:
    """What answers in the model API's place."""
    with impostor() as state:
        yield state


@dataclass
class Stream:
    """A system with topics of its own."""

    system: System
    servers: str
    api: Impostor
    name: str

    def __post_init__(self) -> None:
        self.system.environment |= {
            "ASSAY_KAFKA__BOOTSTRAP_SERVERS": self.servers,
            "ASSAY_API__URL": self.api.url,
            "ASSAY_STREAM__TOPIC": f"{self.name}-in",
            "ASSAY_STREAM__DEAD_LETTER_TOPIC": f"{self.name}-dead",
            "ASSAY_STREAM__EVENT_TOPIC": f"{self.name}-events",
            "ASSAY_STREAM__GROUP": self.name,
        }

    def run(self, *words: str, **environment: str) -> Done:
        return self.system.quick(*words, **environment)

    def put(self, *values: bytes | None) -> None:
        """Puts messages on partition 1 of the topic of transactions."""
        producer = Producer({"bootstrap.servers": self.servers})
        for number, value in enumerate(values):
            producer.produce(f"{self.name}-in", value, f"key {number}", partition=1)
        assert producer.flush(10) == 0

    def balances(self) -> bool:
        return self.run("reconcile", "--json").exit_code == 0

    def consume(self) -> Done:
        return self.run("stream", "consume", "--until-idle", "0.3", "--reject-limit", "1")

    def on(self, suffix: str) -> list[Message]:
        """What is on a topic, partition by partition."""
        topic = f"{self.name}-{suffix}"
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "test"})
        found: list[Message] = []
        try:
            for number in consumer.list_topics(topic, 10).topics[topic].partitions:
                _, after = consumer.get_watermark_offsets(TopicPartition(topic, number), 10)
                consumer.assign([TopicPartition(topic, number, 0)])
                came = 0
                while came < after:
                    messages = consumer.consume(after - came, 10)
                    came += len(messages)
                    found += messages
        finally:
            consumer.close()
        return found

    def events(self) -> list[dict[str, Any]]:
        """What is on the event topic."""
        return [json.loads(each.value() or b"") for each in self.on("events")]

    def origins(self) -> Counter[str]:
        """How often each letter is on the dead-letter topic."""
        return Counter(headers(each)["assay.id"] for each in self.on("dead"))

    def make(self) -> None:
        """Makes the topics by the command for it."""
        done = self.run("stream", "topics")
        assert done.exit_code == 0, done.errors

    def rejected(self, *ids: str, first: int = 0) -> None:
        """Commits rejects of the stream as a consumer does, on a partition of their own."""
        url = self.system.environment["ASSAY_POSTGRES__URL"]
        engine = engine_for(PostgresConfig(url=SecretStr(url)))
        found = outcome(
            [],
            rejected=ids,
            source=f"kafka/{self.name}-in",
            partition=str(first),
            first=first,
            destination=f"kafka:{self.name}-dead",
        )
        try:
            PostgresStore(engine, processing_type="stream").commit(replace(found, headers={}))
        finally:
            engine.dispose()

    @contextmanager
    def service(self) -> Generator["Running"]:
        """The dead-letter service in this process, until the block ends."""
        with patch.dict(os.environ, self.system.environment, clear=True):
            settings = load(ConsumerSettings)
        asked = Request(str(uuid4()), 5, timedelta(0), Policy())
        result = Result(asked.run_id)
        with dead_letter_service(asked, settings, result) as services:
            running = Running(result, self.system, asked.run_id)
            composed = replace(services, on_signal=running.on_signal)
            thread = threading.Thread(target=dead_letters, args=(asked, composed, result))
            thread.start()
            try:
                yield running
            finally:
                running.stop()
                thread.join(30)
                assert not thread.is_alive()


@dataclass
class Running:
    """The service while it runs."""

    result: Result
    system: System
    run_id: str

    def __post_init__(self) -> None:
        self.stop: Callable[[], None] = lambda: None

    @contextmanager
    def on_signal(self, act: Callable[[], None]) -> Generator[list[int]]:
        self.stop = act
        yield []

    def asked(self, path: str) -> tuple[int, str]:
        """What it says of itself over HTTP."""
        ((url,),) = self.system.query("SELECT status_url FROM runs WHERE run_id = %s", self.run_id)
        try:
            with urlopen(f"{url}{path}", timeout=5) as answer:  # noqa: S310 - our own
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Waits for a condition."""
    over = threading.Event()
    timer = threading.Timer(seconds, over.set)
    timer.start()
    try:
        while not condition():
            assert not over.wait(0.05), "it does not come"
    finally:
        timer.cancel()


def headers(message: Message) -> dict[str, str]:
    found: Any = message.headers()
    return {name: value.decode() for name, value in found}


@pytest.fixture
def stream(
    system: System, kafka_servers: str, api: Impostor, monkeypatch: pytest.MonkeyPatch
) -> Stream:
    """A system with topics of its own, which are not made yet."""
    monkeypatch.setattr("assay_streaming.dead_letters._SELDOM", 0.2)
    return Stream(system, kafka_servers, api, f"s{secrets.token_hex(4)}")


def gives_up(ids: list[str]) -> list[Answer]:
    """Cannot judge the record t-2 just now."""
    found = answers(ids)
    return [
        {"transaction_id": each["transaction_id"], "error": {"code": "busy", "retriable": True}}
        if each["transaction_id"] == "t-2"
        else each
        for each in found
    ]


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
    assert told["__connect.errors.topic"] == f"{stream.name}-in"
    assert told["__connect.errors.partition"] == "1"
    assert told["__connect.errors.offset"] == "4"
    assert (told["assay.code"], told["assay.field"]) == ("invalid_side", "side")
    made = told["assay.topic.id"]
    assert told["assay.id"] == f"kafka/{stream.name}-in/1#{made}@4"

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
    name, lines = f"{stream.name}-in", tmp_path / "letters.jsonl"
    export = ("dead-letters", "export", "--format", "jsonl", "--out", str(lines), "--force")
    take = ("dead-letters", "import", "--topic", f"{stream.name}-dead")
    put = (record("t-1"), record("t-2", currency=None), b"no json")
    stream.make()
    stream.put(*put)
    assert stream.consume().summary["rejected"] == 2
    assert stream.run(*ONCE, "--no-retry").summary["published"] == 2
    assert stream.run(*export).exit_code == 0

    admin: Any = AdminClient({"bootstrap.servers": stream.servers})  # its stubs are partial
    admin.delete_topics([name])[name].result(30)
    until(lambda: name not in admin.list_topics(timeout=10).topics)
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


def test_a_letter_is_not_tried_before_it_is_due(stream: Stream) -> None:
    """The delay counts from its commit."""
    stream.make()
    stream.api.behaviour = gives_up
    stream.put(record("t-2"))
    stream.consume()
    done = stream.run(*ONCE[:3], "--retry-delay", "3600")
    assert (done.summary["published"], done.summary["retried"]) == (1, 0)


def test_a_dead_letter_topic_that_is_away_holds_nothing_up(local: Local, stream: Stream) -> None:
    """Consumers go on and letters wait; then each is on the topic once, whatever is killed."""
    topics.create(stream.servers, f"{stream.name}-in")
    with stream.service() as service:
        until(lambda: service.asked("/health/ready")[0] == 200)
        stream.put(*(b"no json" for _ in range(50)))
        done = stream.consume()
        assert (done.exit_code, done.summary["rejected"]) == (0, 50), done.errors
        until(lambda: service.asked("/health/ready")[0] == 503)
        assert json.loads(service.asked("/health/ready")[1])["away"] == ["relay"]
        assert service.asked("/health/live")[0] == 200

        stream.make()
        until(lambda: service.result.published.total() == 50)
        stream.rejected(*(f"r{number}" for number in range(5_000)), first=1_000)
        until(lambda: service.result.published.total() > 50)
        local.kafka.kill()
        stream.rejected(*(f"s{number}" for number in range(500)), first=10_000)
        local.kafka.start()
        until(lambda: service.result.published.total() == 5_550, 60)
        until(lambda: service.asked("/health/ready")[0] == 200)
        place = f'destination="kafka:{stream.name}-dead"'
        until(lambda: f"assay_letters_waiting{{{place}}} 0.0" in service.asked("/metrics")[1])
        metrics = service.asked("/metrics")[1]
        assert f"assay_letters_published_total{{{place}}} 5550.0" in metrics
        assert f'assay_letters_open{{code="{CODE}"}} 50.0' in metrics
    assert service.result.published.total() == 5_550
    origins = stream.origins()
    assert (len(origins), set(origins.values())) == (5_550, {1})


def test_a_model_that_is_away_costs_no_attempt(stream: Stream) -> None:
    """Retries wait for it, publishing goes on; once it is back the letters are closed."""
    stream.make()
    stream.api.behaviour = gives_up
    stream.put(record("t-2"))
    stream.consume()
    stream.api.behaviour = lambda _: Reply(503)
    with stream.service() as service:
        until(lambda: '"classifier"' in service.asked("/health/ready")[1])
        stream.rejected("x", first=1_000)
        until(lambda: service.result.published.total() == 2)
        assert stream.system.query("SELECT attempt, state FROM dead_letters WHERE retriable") == [
            (1, "open")
        ]
        stream.api.behaviour = answers
        until(lambda: service.result.retried.classified == 1)
        until(lambda: service.asked("/health/ready")[0] == 200)
        metrics = service.asked("/metrics")[1]
        assert 'assay_letters_retried_total{result="closed"} 1.0' in metrics
    assert stream.system.query("SELECT kind, status FROM runs WHERE kind = 'redrive'") == [
        ("redrive", "done")
    ]


def breaks(on: str, error: Exception) -> Callable[..., Any]:
    """Decodes letters, unless one of this record is among them."""

    def broken(chunk: Chunk, reading: Reading) -> Any:
        if on.encode() in b"".join(chunk.records["raw"].drop_nulls()):
            raise error
        return decode(chunk, reading)

    return broken


def test_a_letter_that_breaks_its_redrive_off_stops_no_other(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted and left alone; what concerns all ends the service."""
    stream.make()
    stream.api.behaviour = lambda ids: [
        {"transaction_id": each, "error": {"code": "busy", "retriable": True}} for each in ids
    ]
    stream.put(*(record(f"t-{number}") for number in range(5)))
    assert stream.consume().summary["rejected"] == 5
    stream.api.behaviour = answers
    asked = Request(str(uuid4()), 5, timedelta(0), Policy(), once=True)
    with patch.dict(os.environ, stream.system.environment, clear=True):
        settings = load(ConsumerSettings)
    monkeypatch.setattr("assay.pipeline.redrive.decode", breaks("t-3", Fatal("wrong")))
    result = Result(asked.run_id)
    with dead_letter_service(asked, settings, result) as services, pytest.raises(Fatal):
        dead_letters(asked, services, result)
    assert (result.retried.read, result.stuck, result.published.total()) == (0, 0, 5)

    monkeypatch.setattr("assay.pipeline.redrive.decode", breaks("t-3", Denied("not yours")))
    with stream.service() as service:
        until(lambda: service.result.stuck == 1 and service.result.retried.read == 4)
        assert 'letters_retried_total{result="stuck"} 1.0' in service.asked("/metrics")[1]
        stream.put(b"no json")
        stream.consume()
        until(lambda: service.result.published.total() == 1)
    assert service.result.retried.classified == 4
    left = "SELECT position, attempt FROM dead_letters WHERE state = 'open' AND retriable"
    assert stream.system.query(left) == [(3, 1)]
    assert stream.run(*ONCE).summary["closed"] == 1
    assert stream.balances()


def test_a_service_ends_while_something_is_away(stream: Stream) -> None:
    """At once; what it had claimed is free again."""
    stream.make()
    stream.api.behaviour = gives_up
    stream.put(record("t-2"))
    stream.consume()
    stream.api.behaviour = lambda _: Reply(503)
    with stream.service() as service:
        until(lambda: '"classifier"' in service.asked("/health/ready")[1])
    assert stream.system.query("SELECT count(*) FROM redrives") == [(0,)]
    stream.api.behaviour = answers
    assert stream.run(*ONCE).summary["closed"] == 1


def test_several_services_share_the_letters(stream: Stream) -> None:
    """Each letter is published by one of them."""
    stream.make()
    with stream.service() as one, stream.service() as two:
        for turn in range(20):
            stream.rejected(*(f"r{turn}-{number}" for number in range(100)), first=turn * 100)
        until(lambda: (one.result.published + two.result.published).total() == 2_000)
    origins = stream.origins()
    assert (len(origins), set(origins.values())) == (2_000, {1})


def test_a_record_that_is_too_long_is_read_again_where_it_came_from(stream: Stream) -> None:
    """A redrive takes the whole of it from the topic; its letter holds the head only."""
    admin: Any = AdminClient({"bootstrap.servers": stream.servers})  # its stubs are partial
    config = {"max.message.bytes": str(4 << 20)}
    name = f"{stream.name}-in"
    admin.create_topics([NewTopic(name, 3, config=config)])[name].result(30)
    stream.make()
    long = record("t-1").replace(b",", b"," + b" " * (1 << 20), 1)
    producer = Producer({"bootstrap.servers": stream.servers, "message.max.bytes": 4 << 20})
    producer.produce(name, long, partition=0)
    assert producer.flush(10) == 0
    assert stream.consume().summary["rejected"] == 1
    done = stream.run(*ONCE)
    assert (done.summary["published"], done.summary["retried"]) == (1, 0), done.errors
    (message,) = stream.on("dead")
    assert (message.value(), headers(message)["assay.length"]) == (long[: 1 << 20], str(len(long)))
    done = stream.run("dead-letters", "redrive", "--code", "record_too_long")
    assert (done.exit_code, done.summary["closed"]) == (0, 1), done.errors


def test_sigterm_ends_the_service(stream: Stream) -> None:
    """With exit code 0 and the summary last."""
    stream.make()
    process = stream.system.start("stream", "dead-letters", "--no-retry")
    stream.rejected("x", "y")
    published = "SELECT FROM dead_letters WHERE published_at IS NOT NULL"
    until(lambda: len(stream.system.query(published)) == 2)
    process.send_signal(signal.SIGTERM)
    done = stream.system.end(process)
    assert (done.exit_code, done.summary["status"]) == (0, "stopped"), done.errors
    assert done.summary["published"] == 2
