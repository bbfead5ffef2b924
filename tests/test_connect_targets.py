"""`assay connect …` on real targets: each record is there, whatever dies or goes away meanwhile."""

import json
import random
import re
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.request import urlopen

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from impostor import number_of
from streams import Stream, cut, many, record, until
from system import Done, Forked
from targets import NAMES, Kept, Listener, ask, kept, listener, settled

from assay_local import Local

__all__ = ["kept", "listener"]

_EACH = pytest.mark.parametrize("kept", NAMES, indirect=True)
_IDLE = ("--until-idle", "0.3")
_OFTEN = {"ASSAY_STREAM__LINGER": "0.05", "ASSAY_STREAM__CHUNK_RECORDS": "500"}


def _classified(stream: Stream, records: int) -> list[dict[str, Any]]:
    """Predictions on their topic, of so many records, over three partitions."""
    stream.make()
    for partition in range(3):
        stream.put(*many(records)[partition::3], partition=partition)
    done = stream.run("stream", "classify", *_IDLE)
    assert (done.exit_code, done.summary["classified"]) == (0, records), done.errors
    return stream.values("predictions")


def _fork(stream: Stream, kept: Kept, *words: str) -> Forked:
    asked = ("connect", kept.name, "--instance-id", "only", *words)
    return stream.system.fork(*asked, **_OFTEN, **kept.environment)


def _run(stream: Stream, kept: Kept) -> Done:
    done = _fork(stream, kept, *_IDLE).end()
    assert done.exit_code == 0, done.errors
    return done


@_EACH
def test_each_prediction_is_there_once(stream: Stream, kept: Kept) -> None:
    """A second run finds nothing to do; what comes later is added."""
    predictions = _classified(stream, 300)
    assert _run(stream, kept).summary["classified"] == 300
    settled(kept.held, kept.wanted(predictions))
    assert _run(stream, kept).summary["read"] == 0
    stream.put(record("t-1000"))
    assert stream.run("stream", "classify", *_IDLE).summary["classified"] == 1
    assert _run(stream, kept).summary["classified"] == 1
    settled(kept.held, kept.wanted(stream.values("predictions")))


@pytest.mark.parametrize(
    "kills", [pytest.param(3, id="few"), pytest.param(25, id="many", marks=pytest.mark.chaos)]
)
@_EACH
def test_killed_at_random_instants(stream: Stream, kept: Kept, kills: int) -> None:
    """Whoever goes on adds what is missing, and nothing twice."""
    records = max(3_000, kills * 300)
    predictions = _classified(stream, records)
    chance = random.Random(kills)  # noqa: S311 - instants to kill at
    for _ in range(kills):
        running = _fork(stream, kept)
        time.sleep(chance.uniform(0.1, 1.5))
        running.process.kill()
        running.process.join()
    _run(stream, kept)
    settled(kept.held, kept.wanted(predictions))


@pytest.mark.parametrize(
    "seconds",
    [pytest.param(3, id="seconds"), pytest.param(180, id="minutes", marks=pytest.mark.chaos)],
)
@_EACH
def test_a_target_that_is_away_is_waited_for(stream: Stream, kept: Kept, seconds: float) -> None:
    """It says so, lives, and catches up by itself; nothing becomes a dead letter."""
    before = kept.wanted(_classified(stream, 300))
    running = _fork(stream, kept)
    settled(kept.held, before, 60)
    with kept.gone():
        stream.put(*many(3_000)[300:])
        assert stream.run("stream", "classify", *_IDLE).summary["classified"] == 2_700
        until(lambda: "waiting for" in running.err.read_text(), 60)
        time.sleep(seconds)
        assert running.process.is_alive()
    settled(kept.held, kept.wanted(stream.values("predictions")), 120)
    running.process.terminate()
    done = running.end()
    assert (done.exit_code, done.summary["rejected"]) == (0, 0), done.errors


@pytest.mark.chaos  # it waits for up to two minutes; on a busy machine that was too short once
@_EACH
def test_a_broker_that_is_lost(stream: Stream, kept: Kept, local: Local) -> None:
    """In mid-work; the connector goes on by itself when it is back."""
    before = kept.wanted(_classified(stream, 300))
    running = _fork(stream, kept)
    settled(kept.held, before, 60)
    stream.put(*many(3_000)[300:])
    assert stream.run("stream", "classify", *_IDLE).summary["classified"] == 2_700
    local.kafka.kill()
    time.sleep(2)
    local.kafka.start()
    settled(kept.held, kept.wanted(stream.values("predictions")), 120)
    running.process.terminate()
    done = running.end()
    assert (done.exit_code, done.summary["rejected"]) == (0, 0), done.errors


@pytest.mark.parametrize("kept", ["archive"], indirect=True)
def test_a_gap_in_what_was_being_delivered(stream: Stream, kept: Kept) -> None:
    """It is told, accepted, and what is left of it is delivered."""
    _classified(stream, 300)
    predictions = f"{stream.name}-predictions"
    asked = partial(stream.system.fork, "connect", kept.name, **_OFTEN, **kept.environment)
    with kept.gone():
        running = asked()
        until(lambda: "waiting for" in running.err.read_text(), 60)
        running.process.terminate()
        running.end()
    for partition in range(3):
        cut(stream, predictions, partition, 6)
    done = asked(*_IDLE).end()
    group = f"{stream.name}-archive"
    accept = ("stream", "accept-gap", "--topic", predictions, "--group", group)
    assert done.exit_code == 78
    assert " ".join(("assay", *accept)) in done.errors
    for words in (*accept, "--dry-run"), accept:
        done = stream.run(*words)
        assert done.exit_code == 0, done.errors
        under_way = {each["partition"]: each for each in done.summary["under_way"]}
        assert done.exit_code == 0, done.errors
        assert under_way
        assert all(each["first"] < 6 < each["next"] for each in under_way.values())
        assert "the target may have them" in " ".join(done.errors.split())
    left = kept.wanted(stream.values("predictions"))
    assert _run(stream, kept).summary["classified"] == left.total() < 300
    assert left - kept.held() == {}


@pytest.mark.parametrize("name", ["archive", "lake"])
def test_a_bucket_that_is_not_there_is_told_at_once(stream: Stream, name: str) -> None:
    """Before anything is read, and not when the first file is due."""
    stream.make()
    uri = "s3://no-such-bucket/place" + ("/" if name == "archive" else "")
    done = stream.run("connect", name, **{f"ASSAY_{name.upper()}__URI": uri})
    assert done.exit_code == 78
    assert "there is no bucket no-such-bucket" in done.errors


@pytest.mark.parametrize("kept", ["search"], indirect=True)
def test_half_of_a_bulk_that_is_refused(stream: Stream, kept: Kept) -> None:
    """Those are dead letters; the others are there, in the same bulk."""
    index = f"{kept.environment['ASSAY_SEARCH__URL']}/{stream.name}"
    stream.make()
    odd = [record(f"t-{n}", merchant="no date") for n in range(1, 200, 2)]
    stream.put(*odd, *(record(f"t-{n}") for n in range(0, 200, 2)))
    assert stream.run("stream", "classify", *_IDLE).summary["classified"] == 200
    ask(index, {"mappings": {"properties": {"merchant": {"type": "date"}}}}, "PUT")
    done = _fork(stream, kept, *_IDLE, "--reject-limit", "1").end()
    assert (done.summary["classified"], done.summary["rejected"]) == (100, 100), done.errors
    assert set(kept.held()) == {f"t-{n}" for n in range(0, 200, 2)}
    assert len(stream.on("dead")) == 100


@pytest.mark.parametrize("kept", ["webhook"], indirect=True)
def test_a_webhook_that_refuses_half(stream: Stream, kept: Kept, listener: Listener) -> None:
    """Those are dead letters, and each of the others is told once."""
    _classified(stream, 200)
    listener.answer = lambda name: 422 if number_of(name) % 2 else 204
    done = _fork(stream, kept, *_IDLE, "--reject-limit", "1").end()
    assert (done.summary["classified"], done.summary["rejected"]) == (100, 100), done.errors
    assert set(kept.held()) == {f"{n}-{n}" for n in range(0, 200, 2)}
    assert len(stream.on("dead")) == 100


def _metrics(running: Forked) -> Callable[[str], list[float]]:
    """The values of one of its metrics."""
    lines = map(json.loads, running.err.read_text().splitlines())
    url = next(each["url"] for each in lines if "url" in each)

    def values(name: str) -> list[float]:
        with urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310 - our own
            text = answer.read().decode()
        return [float(each) for each in re.findall(rf"^{name}{{.*}} (\S+)$", text, re.MULTILINE)]

    return values


def test_a_transaction_that_is_open_hides_nobody(stream: Stream) -> None:
    """`assay connect status` shows all readers meanwhile, also one whose commit is under way."""
    _classified(stream, 30)
    topic = f"{stream.name}-predictions"
    settings = {"bootstrap.servers": stream.servers}
    consumer = Consumer({**settings, "group.id": f"{stream.name}-other"})
    producer = Producer({**settings, "transactional.id": f"{stream.name}-other"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.send_offsets_to_transaction(
        [TopicPartition(topic, 0, 1)], consumer.consumer_group_metadata(), 30
    )
    assert stream.run("connect", "postgres", *_IDLE).exit_code == 0
    done = stream.run("connect", "status", "--json")
    producer.abort_transaction(30)
    consumer.close()
    assert done.exit_code == 0, done.errors
    assert f"{stream.name}-postgres" in [each["group"] for each in done.summary["readers"]]


def test_who_is_down_delays_nobody(stream: Stream, listener: Listener) -> None:
    """`assay connect status` tells how far each is, and who is behind."""
    _classified(stream, 300)
    webhook = {"ASSAY_WEBHOOK__URL": listener.url, "ASSAY_WEBHOOK__SECRET": "s" * 16}
    with listener.gone():
        running = stream.system.fork("connect", "webhook", **webhook)
        assert stream.run("connect", "postgres", *_IDLE).summary["classified"] == 300
        done = stream.run("connect", "status", "--json")
        readers = {each["group"]: each for each in done.summary["readers"]}
        assert sum(readers[f"{stream.name}-postgres"]["lag"].values()) == 0
        assert sum(readers[f"{stream.name}-webhook"]["lag"].values()) >= 300
    until(lambda: len(listener.held()) == 300, 60)
    metrics = _metrics(running)
    until(lambda: len(metrics("assay_position")) == 3, 60)
    assert sum(metrics("assay_position")) >= 300
    (at,) = metrics("assay_last_commit_timestamp_seconds")
    assert 0 <= time.time() - at < 60
    running.process.terminate()
    assert running.end().exit_code == 0
    done = stream.run("connect", "status", "--json")
    found = {each["group"]: each for each in done.summary["readers"]}[f"{stream.name}-webhook"]
    assert (sum(found["lag"].values()), found["members"]) == (0, 0)
    assert found["committed"] is not None
