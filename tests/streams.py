"""A system whose streams have topics of their own, and the dead-letter service on it."""

import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from urllib.error import HTTPError
from urllib.request import urlopen
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from impostor import Answer, Impostor, answers
from pydantic import SecretStr
from system import Done, System

from assay.pipeline.pump import Policy
from assay.testing.frames import outcome
from assay_adapters.environment.settings import load
from assay_adapters.postgres.config import PostgresConfig
from assay_adapters.postgres.connection import engine_for
from assay_adapters.postgres.store import PostgresStore
from assay_local import topics
from assay_streaming.bootstrap import ConsumerSettings, dead_letter_service
from assay_streaming.dead_letters import Request, Result, dead_letters

ONCE = ("stream", "dead-letters", "--once", "--retry-delay", "0")
"""Publishes and tries again what is there."""


def record(name: str, **members: object) -> bytes:
    """A message with a transaction."""
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


def many(count: int) -> list[bytes]:
    """So many records, all of which the impostor classifies."""
    return [record(f"{number}-{number % 1000}") for number in range(count)]


def gives_up(ids: list[str]) -> list[Answer]:
    """Cannot judge the record t-2 just now."""
    found = answers(ids)
    return [
        {"transaction_id": each["transaction_id"], "error": {"code": "busy", "retriable": True}}
        if each["transaction_id"] == "t-2"
        else each
        for each in found
    ]


def headers(message: Message) -> dict[str, str]:
    """Those of a message, as text."""
    found: Any = message.headers()
    return {name: value.decode() for name, value in found}


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


def cut(stream: "Stream", topic: str, partition: int, offset: int) -> None:
    """Deletes what a topic has before this offset."""
    admin: Any = AdminClient({"bootstrap.servers": stream.servers})  # its stubs are partial
    at = TopicPartition(topic, partition, offset)
    admin.delete_records([at])[at].result(30)


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
            "ASSAY_STREAM__TOPIC": self.topic,
            "ASSAY_STREAM__DEAD_LETTER_TOPIC": f"{self.name}-dead",
            "ASSAY_STREAM__EVENT_TOPIC": f"{self.name}-events",
            "ASSAY_STREAM__PREDICTION_TOPIC": f"{self.name}-predictions",
            "ASSAY_STREAM__LEDGER_TOPIC": f"{self.name}-ledger",
            "ASSAY_STREAM__GROUP": self.name,
        }

    @property
    def topic(self) -> str:
        """The topic of transactions."""
        return f"{self.name}-in"

    def run(self, *words: str, **environment: str) -> Done:
        return self.system.quick(*words, **environment)

    def put(self, *values: bytes | None, partition: int = 1) -> None:
        """Puts messages on a partition of the topic of transactions."""
        producer = Producer({"bootstrap.servers": self.servers})
        for number, value in enumerate(values):
            producer.produce(self.topic, value, f"key {number}", partition=partition)
        assert producer.flush(10) == 0

    def balances(self) -> bool:
        return self.run("reconcile", "--json").exit_code == 0

    def delete(self, topic: str | None = None) -> None:
        """Deletes a topic, that of transactions; returns when no broker shows it any more."""
        name = topic or self.topic
        admin: Any = AdminClient({"bootstrap.servers": self.servers})  # its stubs are partial
        admin.delete_topics([name])[name].result(30)
        until(lambda: name not in admin.list_topics(timeout=10).topics)

    def consume(self, *arguments: str) -> Done:
        """Reads all there is, however much of it is rejected."""
        idle = ("--until-idle", "0.3", "--reject-limit", "1")
        return self.run("stream", "consume", *idle, *arguments)

    def on(self, suffix: str) -> list[Message]:
        """What is on a topic by now, partition by partition; of transactions what is committed."""
        topic = f"{self.name}-{suffix}"
        settings = {"bootstrap.servers": self.servers, "group.id": "test"}
        consumer = Consumer({**settings, "enable.partition.eof": True})
        found: list[Message] = []
        try:
            for number, after in enumerate(topics.ends(self.servers, topic)):
                consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING)])
                while (message := consumer.poll(30)) is not None and not message.error():
                    if (message.offset() or 0) >= after:  # it has grown meanwhile
                        break
                    found.append(message)
                assert message is not None, f"{topic}/{number} does not come to its end"
        finally:
            consumer.close()
        return found

    def values(self, suffix: str) -> list[dict[str, Any]]:
        """The same, read as JSON."""
        return [json.loads(each.value() or b"") for each in self.on(suffix)]

    def events(self) -> list[dict[str, Any]]:
        """What is on the event topic."""
        return self.values("events")

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
            source=f"kafka/{self.topic}",
            partition=str(first),
            first=first,
            destination=f"kafka:{self.name}-dead",
        )
        try:
            PostgresStore(engine, processing_type="stream").commit(replace(found, headers={}))
        finally:
            engine.dispose()

    @contextmanager
    def service(self) -> Generator[Running]:
        """The dead-letter service in this process, until the block ends."""
        # In its place, not changed: libraries read the process's own in threads of theirs.
        with patch.object(os, "environ", self.system.environment):
            settings = load(ConsumerSettings)
        asked = Request(str(uuid4()), 5, timedelta(0), Policy())
        result = Result(asked.run_id)
        often = patch("assay_streaming.dead_letters._SELDOM", 0.2)
        with often, dead_letter_service(asked, settings, result) as services:
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
