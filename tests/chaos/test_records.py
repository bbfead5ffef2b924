"""Poison on the topic: whatever bytes come, each record leaves through its door."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from chaos.driver import Record, Stream, Topic, codes, load, wait_for
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

SOUND = (
    b'{"transaction_id":"t-1","description":"COFFEE","amount":"1.00","currency":"EUR",'
    b'"timestamp":"2024-01-02T10:00:00Z","operation_type":"payment","side":"debit"}'
)
LONG = SOUND.replace(b"COFFEE", b"COFFEE " * 750_000)
DEEP = b"[" * 100_000 + b"]" * 100_000
POISON: list[tuple[bytes | None, str]] = [
    (None, "empty_record"),
    (b"", "empty_record"),
    (b"[1,2]", "invalid_record"),
    (b'"text"', "invalid_record"),
    (b"42", "invalid_record"),
    (b"no json", "invalid_json"),
    (SOUND.replace(b"COFFEE", b"COFF\xffEE"), "invalid_encoding"),
    (LONG, "record_too_long"),
    (DEEP, "invalid_json"),
    (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "invalid_json"),
    (SOUND.replace(b'"side"', b'"amount":"2.00","side"'), "duplicate_name"),
    (SOUND + SOUND, "invalid_json"),
    (SOUND + b"\n" + SOUND, "invalid_json"),
]


@pytest.fixture
def roomy(make_stream: Callable[[Topic], Stream], kafka_servers: str, topic: str) -> Stream:
    """A topic that takes messages of 8 MiB."""
    admin: Any = AdminClient({"bootstrap.servers": kafka_servers})
    name = f"{topic}-roomy"
    wanted = NewTopic(name, 3, config={"max.message.bytes": str(8 << 20)})
    admin.create_topics([wanted])[name].result(30)
    return make_stream(Topic(kafka_servers, name))


def test_poison_harms_nobody(roomy: Stream) -> None:
    """Each of it is a dead letter with its code; the sound records around it are classified."""
    records = [Record(number % 3, b"key", value) for number, (value, _) in enumerate(POISON)]
    records.extend(
        Record(partition, None, SOUND.replace(b"t-1", b"t-%d" % partition))
        for partition in range(3)
    )
    roomy.topic.put(records)
    roomy.start()
    roomy.finish()
    assert roomy.system.balances()
    assert roomy.system.query("SELECT count(*) FROM transactions") == [(3,)]
    found = {
        (int(partition), position): (code, bytes(raw) if raw is not None else None, *rest)
        for partition, position, code, raw, *rest in roomy.system.query(
            "SELECT partition, position, code, raw, length, sha256, key FROM dead_letters"
        )
    }
    assert len(found) == len(POISON)
    for number, (value, code) in enumerate(POISON):
        length = len(value or b"")
        cut = length > 1 << 20
        digest = hashlib.sha256(value or b"").digest() if cut else None
        raw = value[: 1 << 20] if value is not None else None
        assert found[number % 3, number // 3] == (code, raw, length, digest, b"key"), number


def test_a_flood_of_broken_records_stops_the_consumer(stream: Stream) -> None:
    """With 65; a restart remembers and stops again; `--reject-limit 1` accepts, and only that."""
    stream.topic.put([Record(number % 3, None, b"broken") for number in range(2_000)])
    runner = stream.start()
    assert runner.end() == 65
    assert "--reject-limit 1" in runner.log
    assert runner.summary["status"] == "failed"
    read = stream.read()
    assert read < 1_100
    again = stream.start()
    assert again.end() == 65
    assert stream.read() == read
    accepting = stream.start("--reject-limit", "1", "--until-idle", "0.5")
    assert accepting.end() == 0
    assert codes(stream.system) == {"invalid_json": 2_000}
    assert stream.system.balances()
    stream.topic.put(load(200))
    usual = stream.start("--until-idle", "0.5")
    assert usual.end() == 0
    assert stream.system.balances()


def test_a_flood_is_not_committed_because_partitions_move(stream: Stream) -> None:
    """Two consumers that come and go do not get it through between them."""
    stream.topic.put([Record(number % 3, None, b"broken") for number in range(6_000)])
    runners = [stream.start() for _ in range(2)]
    wait_for(lambda: any(each.process.exitcode is not None for each in runners), why=stream.said)
    for each in runners:
        assert each.end() == 65
    # Each judges by the books and by what it has in hand.
    assert stream.read() < 2_500
    assert stream.system.balances()


def test_one_id_in_two_partitions(stream: Stream) -> None:
    """The same content is a duplicate, another one a conflict, whichever consumer reads which."""
    same = [
        Record(partition, None, SOUND.replace(b"t-1", b"s-%d" % number))
        for number in range(400)
        for partition in (0, 1)
    ]
    other = [
        Record(
            partition,
            None,
            SOUND.replace(b"t-1", b"o-%d" % number).replace(b"1.00", b"%d.00" % partition),
        )
        for number in range(400)
        for partition in (0, 2)
    ]
    stream.topic.put([*same, *other])
    stream.start()
    stream.start()
    stream.finish()
    assert stream.system.balances()
    ((classified, rejected, duplicate),) = stream.system.query(
        "SELECT sum(classified)::int, sum(rejected)::int, sum(duplicate)::int FROM ledger"
    )
    assert (classified, rejected, duplicate) == (800, 400, 400)
    assert codes(stream.system) == {"conflicting_duplicate": 400}
    kept = dict(stream.system.query("SELECT transaction_id, amount FROM transactions"))
    for (raw,) in stream.system.query("SELECT raw FROM dead_letters"):
        letter = json.loads(bytes(raw))
        assert float(kept[letter["transaction_id"]]) != float(letter["amount"])
