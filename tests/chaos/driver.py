"""What chaos is made with: a load on a topic, consumers of it, and the proof of what they wrote."""

import json
import os
import random
import secrets
import signal
import time
import urllib.error
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, NamedTuple

import forked
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from system import System

from assay_local import ports
from assay_streaming.generator import Generator

PARTITIONS: Final = 3
Origin = tuple[str, int]
"""Partition and offset."""

_START: Final = datetime(2024, 1, 2, tzinfo=UTC)
_ROWS: Final = """
    SELECT ledger.partition, transactions.position, transactions.transaction_id, description,
           amount, currency, timestamp, merchant, operation_type, side, mcc,
           encode(content_hash, 'hex'), category, confidence, predictions.needs_review,
           model_version
    FROM transactions JOIN predictions USING (number)
        JOIN ledger ON ledger.entry = transactions.entry
    ORDER BY transactions.transaction_id
"""
_LETTERS: Final = """
    SELECT partition, position, stage, code, field, message, transaction_id, encode(raw, 'hex'),
           encode(key, 'hex'), length, encode(sha256, 'hex'), retriable, attempt, state
    FROM dead_letters ORDER BY 1, 2
"""
_DOORS: Final = """
    SELECT partition, min(first), max(next), sum(read)::int FROM ledger GROUP BY 1 ORDER BY 1
"""


class Record(NamedTuple):
    """A message, and the partition that it is put into."""

    partition: int
    key: bytes | None
    value: bytes | None


def load(count: int, *, seed: int = 1, faults: float = 0.06) -> list[Record]:
    """Messages, the same ones each time: broken ones, and ids that come again in another partition.

    Of those, some have the same content and some another.
    """
    chance = random.Random(seed)  # noqa: S311 - which partition, which record again
    messages = Generator(seed, _START, faults=faults).take(count, _START)
    records: list[Record] = []
    for number, (key, value) in enumerate(messages):
        record = Record(chance.randrange(PARTITIONS), key, value)
        records.append(record)
        if number % 40 == 0:
            again = chance.choice(records[-300:])
            elsewhere = (again.partition + 1) % PARTITIONS
            content = again.value
            if number % 80 == 0 and content is not None:
                content = content.replace(b'"description":"', b'"description":"AGAIN ', 1)
            records.append(Record(elsewhere, again.key, content))
    return records


def numbered(count: int) -> list[Record]:
    """Sound records whose ids end in their number."""
    text = (
        '{{"transaction_id":"t-{0}","description":"COFFEE {0}","amount":"1.00","currency":"EUR",'
        '"timestamp":"2024-01-02T10:00:00Z","operation_type":"payment","side":"debit"}}'
    )
    return [Record(number % 3, None, text.format(number).encode()) for number in range(count)]


@dataclass
class Topic:
    """A topic, and what was put there."""

    servers: str
    name: str
    logs: dict[str, list[bytes | None]] = field(
        default_factory=lambda: {str(each): [] for each in range(PARTITIONS)}
    )

    @property
    def records(self) -> int:
        """How many were put there."""
        return sum(map(len, self.logs.values()))

    def put(self, records: Sequence[Record], *, rate: float | None = None) -> None:
        """Puts records there, each once, in this order; so many a second if a rate is given."""
        properties = {"bootstrap.servers": self.servers, "enable.idempotence": True, "linger.ms": 5}
        producer = Producer({**properties, "message.max.bytes": 8 << 20, "log_level": 0})
        faults: list[object] = []
        began = time.monotonic()
        for number, record in enumerate(records):
            while True:
                try:
                    producer.produce(
                        self.name,
                        record.value,
                        record.key,
                        record.partition,
                        on_delivery=lambda error, _: faults.append(error) if error else None,
                    )
                    break
                except BufferError:
                    producer.poll(0.1)
            self.logs[str(record.partition)].append(record.value)
            if rate is not None and number % 100 == 0:
                producer.poll(max(0.0, began + number / rate - time.monotonic()))
        assert producer.flush(60) == 0
        assert not faults

    def cut(self, partition: int, offset: int) -> None:
        """Deletes what is before this offset of a partition."""
        admin: Any = AdminClient({"bootstrap.servers": self.servers})  # its stubs are partial
        at = TopicPartition(self.name, partition, offset)
        admin.delete_records([at])[at].result(30)

    def ends(self) -> dict[str, int]:
        """Where each partition ends."""
        return {partition: len(log) for partition, log in self.logs.items()}

    def committed(self, group: str) -> dict[str, int]:
        """The offsets that a group has committed in Kafka."""
        consumer = Consumer(
            {"bootstrap.servers": self.servers, "group.id": group, "enable.auto.commit": False}
        )
        try:
            asked = [TopicPartition(self.name, int(each)) for each in self.logs]
            found = consumer.committed(asked, timeout=10)
        finally:
            consumer.close()
        return {str(each.partition): each.offset for each in found}


@dataclass
class Runner:
    """One process that consumes."""

    process: BaseProcess
    status: str
    out: Path
    err: Path

    @property
    def log(self) -> str:
        """What it has said so far on standard error."""
        return self.err.read_text(errors="replace") if self.err.exists() else ""

    @property
    def summary(self) -> dict[str, Any]:
        """Its last line."""
        lines = self.out.read_text().splitlines() if self.out.exists() else []
        return json.loads(lines[-1]) if lines else {}

    def asks(self, path: str) -> tuple[int, Any]:
        """What its status address answers: status and body."""
        wait_for(lambda: _answer(self.status + path) is not None, why=lambda: self.log)
        return _answer(self.status + path) or (0, b"")

    def signal(self, number: int) -> None:
        """Sends it a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """Ends it at once; returns when it is gone."""
        self.process.kill()
        self.process.join()

    def stop(self) -> None:
        """Asks it to end."""
        self.process.terminate()

    def end(self, *, seconds: float = 60) -> int | None:
        """Its exit code, once it has ended."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"does not end: {self.log[-2_000:]}"
        return self.process.exitcode


@dataclass
class Stream:
    """A database, a topic, and the consumers between them."""

    system: System
    topic: Topic
    folder: Path
    group: str = field(default_factory=lambda: f"group-{secrets.token_hex(4)}")
    runners: list[Runner] = field(default_factory=list[Runner])
    settings: dict[str, str] = field(default_factory=dict[str, str])

    def start(self, *arguments: str, **environment: str) -> Runner:
        """Starts a consumer in small chunks that is missed after two seconds."""
        name = self.folder / f"consumer-{len(self.runners)}"
        settings = {
            "ASSAY_KAFKA__BOOTSTRAP_SERVERS": self.topic.servers,
            "ASSAY_KAFKA__PROPERTIES": json.dumps(
                {"session.timeout.ms": "2000", "heartbeat.interval.ms": "300"}
            ),
            "ASSAY_STREAM__TOPIC": self.topic.name,
            "ASSAY_STREAM__GROUP": self.group,
            "ASSAY_STREAM__CHUNK_RECORDS": "100",
            "ASSAY_STREAM__LINGER": "0.02",
            "ASSAY_STREAM__DRAIN": "2",
            "ASSAY_POSTGRES__SILENCE": "1",
            "ASSAY_POSTGRES__LOCK_TIMEOUT": "2",
        }
        (port,) = ports.choose(1, set())
        out, err = name.with_suffix(".out"), name.with_suffix(".err")
        process = forked.start(
            "streaming",
            ["consume", "--status-port", str(port), *arguments],
            self.system.environment | settings | self.settings | environment,
            out=out,
            err=err,
        )
        runner = Runner(process, f"http://127.0.0.1:{port}", out, err)
        self.runners.append(runner)
        return runner

    @property
    def alive(self) -> list[Runner]:
        """The consumers that run."""
        return [each for each in self.runners if each.process.is_alive()]

    def stands(self) -> dict[str, int]:
        """Where the books stand."""
        return dict(self.system.query("SELECT partition, next FROM positions"))

    def read(self) -> int:
        """Records in the books."""
        ((read,),) = self.system.query("SELECT coalesce(sum(read), 0)::int FROM ledger")
        return read

    def wait_read(self, records: int, *, seconds: float = 60) -> None:
        """Returns once so many records are in the books."""
        wait_for(lambda: self.read() >= records, seconds=seconds, why=self.said)

    def wait_done(self, *, seconds: float = 90) -> None:
        """Returns once all that the topic holds is in the books.

        A partition in which nothing is has a position at its beginning, or none.
        """
        ends = _beyond_0(self.topic.ends())
        wait_for(lambda: _beyond_0(self.stands()) == ends, seconds=seconds, why=self.said)

    def said(self) -> str:
        """The ends of what all consumers have said."""
        said = (
            f"{each.err.name} {each.process.exitcode}: {each.log[-700:]}" for each in self.runners
        )
        activity = self.system.query(
            "SELECT pid, state, wait_event, left(query, 60), pg_blocking_pids(pid)"
            " FROM pg_stat_activity WHERE datname = current_database()"
        )
        health = [each.status and _answer(each.status + "/health/ready") for each in self.alive]
        stands = f"{self.stands()} of {self.topic.ends()}"
        return "\n".join([stands, *said, *map(str, [*health, *activity])])

    def finish(self, *, seconds: float = 90) -> None:
        """Waits until all is done, and stops the consumers, which must end well."""
        self.wait_done(seconds=seconds)
        for each in self.alive:
            each.stop()
        for each in self.runners:
            each.end()
        ends = [each.process.exitcode for each in self.runners]
        # Whoever is stopped before it has begun ends by the signal.
        assert set(ends) <= {0, -signal.SIGKILL, -signal.SIGTERM}, self.said()


def _beyond_0(offsets: Mapping[str, int]) -> dict[str, int]:
    return {partition: offset for partition, offset in offsets.items() if offset}


def _answer(url: str) -> tuple[int, Any] | None:
    """Status and body of a GET; None where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own server
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except (urllib.error.URLError, TimeoutError):
        return None


def wait_for(
    condition: Callable[[], Any], *, seconds: float = 60, why: Callable[[], str] = str
) -> None:
    """Returns once a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited too long: {why()}"
        time.sleep(0.02)


# ------------------------------------------------------------------ the proof


@dataclass(frozen=True)
class Books:
    """What a database holds of a topic's records: run, entry and times left out.

    Attributes:
        rows: transactions with their prediction, by id, each with its origin.
        letters: dead letters by origin.
        doors: of each partition: where its ranges begin and end, and how many records were read.
    """

    rows: dict[str, tuple[Origin, tuple[Any, ...]]]
    letters: dict[Origin, tuple[Any, ...]]
    doors: list[tuple[Any, ...]]


def books(system: System) -> Books:
    """Reads them."""
    rows = system.query(_ROWS)
    letters = system.query(_LETTERS)
    return Books(
        {row[2]: ((row[0], row[1]), row[2:]) for row in rows},
        {(row[0], row[1]): row[2:] for row in letters},
        system.query(_DOORS),
    )


def prove(stream: Stream, undisturbed: Books) -> None:
    """The books balance, are those of an undisturbed run, and nothing is left in flight.

    Which of several records with one id came first is free: the kept one, the conflicting ones and
    the duplicates are the same ones together.
    """
    system, logs = stream.system, stream.topic.logs
    assert system.balances()
    found = books(system)
    assert found.doors == undisturbed.doors
    assert _without_conflicts(found) == _without_conflicts(undisturbed)
    groups = _by_id(logs, undisturbed)
    assert found.rows.keys() == undisturbed.rows.keys() == groups.keys()
    rejected: dict[str, set[Origin]] = defaultdict(set)
    for origin, letter in found.letters.items():
        if letter[1] == "conflicting_duplicate":
            rejected[letter[4]].add(origin)
    for name, origins in groups.items():
        origin, row = found.rows[name]
        contents = {each: _content(logs, each) for each in origins}
        assert origin in origins, name
        assert row[1] == contents[origin]["description"]
        assert rejected[name] == {
            each for each, content in contents.items() if content != contents[origin]
        }
        if contents[origin] == contents[undisturbed.rows[name][0]]:
            assert row == undisturbed.rows[name][1]
    duplicates = sum(map(len, groups.values())) - len(groups) - sum(map(len, rejected.values()))
    assert system.query("SELECT sum(duplicate)::int FROM ledger") == [(duplicates,)]
    _nothing_in_flight(system)


def _nothing_in_flight(system: System) -> None:
    own = "datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
    wait_for(lambda: system.query(f"SELECT count(*) FROM pg_stat_activity WHERE {own}") == [(0,)])  # noqa: S608 - a constant
    assert system.query("SELECT count(*) FROM pg_prepared_xacts") == [(0,)]


def _without_conflicts(found: Books) -> Mapping[Origin, tuple[Any, ...]]:
    return {
        origin: letter
        for origin, letter in found.letters.items()
        if letter[1] != "conflicting_duplicate"
    }


def _by_id(
    logs: Mapping[str, Sequence[bytes | None]], undisturbed: Books
) -> dict[str, list[Origin]]:
    """The origins of all sound records with one id."""
    broken = _without_conflicts(undisturbed).keys()
    groups: dict[str, list[Origin]] = defaultdict(list)
    for partition, log in logs.items():
        for position in range(len(log)):
            if (partition, position) not in broken:
                name = _content(logs, (partition, position))["transaction_id"]
                groups[name].append((partition, position))
    return dict(groups)


def _content(logs: Mapping[str, Sequence[bytes | None]], origin: Origin) -> dict[str, Any]:
    return json.loads(logs[origin[0]][origin[1]] or b"")


def codes(system: System) -> Counter[str]:
    """Dead letters by code."""
    return Counter(dict(system.query("SELECT code, count(*)::int FROM dead_letters GROUP BY 1")))
