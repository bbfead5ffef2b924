"""The dead-letter service goes on whatever is away, and each letter is on the topic once."""

import json
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from impostor import Reply, answers
from streams import ONCE, Running, Stream, gives_up, record, until

from assay.domain.chunk import Chunk
from assay.domain.errors import Denied, Fatal
from assay.pipeline.letters import Reading, decode
from assay.pipeline.pump import Policy
from assay_adapters.environment.settings import load
from assay_local import Local, topics
from assay_streaming.bootstrap import ConsumerSettings, dead_letter_service
from assay_streaming.dead_letters import Request, Result, dead_letters


def test_a_dead_letter_topic_that_is_away_holds_nothing_up(local: Local, stream: Stream) -> None:
    """Consumers go on and letters wait; then each is on the topic once, whatever is killed."""
    topics.create(stream.servers, stream.topic)
    with stream.service() as service:
        until(lambda: service.asked("/health/ready")[0] == 200)
        stream.put(*(b"no json" for _ in range(50)))
        done = stream.consume()
        assert (done.exit_code, done.summary["rejected"]) == (0, 50), done.errors
        until(lambda: service.asked("/health/ready")[0] == 503)
        told = json.loads(service.asked("/health/ready")[1])
        assert told["away"] == ["relay"]
        assert f"there is no topic {stream.name}-dead" in told["reasons"]["relay"]
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
        assert 'assay_letters_open{code="invalid_json"} 50.0' in metrics
    assert service.result.published.total() == 5_550
    origins = stream.origins()
    assert (len(origins), set(origins.values())) == (5_550, {1})


@contextmanager
def retrying_in_vain(stream: Stream) -> Generator[Running]:
    """A service with a letter that is to be tried again, while the model is away."""
    stream.make()
    stream.api.behaviour = gives_up
    stream.put(record("t-2"))
    stream.consume()
    stream.api.behaviour = lambda _: Reply(503)
    with stream.service() as service:
        until(lambda: '"classifier"' in service.asked("/health/ready")[1])
        yield service


def test_a_model_that_is_away_costs_no_attempt(stream: Stream) -> None:
    """Retries wait for it, publishing goes on; once it is back the letters are closed."""
    with retrying_in_vain(stream) as service:
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


def test_the_service_tells_how_runs_have_ended(stream: Stream) -> None:
    """The proof of the books among them, which has ended before anybody could ask it."""
    stream.make()
    with stream.service() as service:
        ended = 'assay_run_end_timestamp_seconds{kind="reconcile",status='
        until(lambda: service.asked("/health/ready")[0] == 200)
        assert ended not in service.asked("/metrics")[1]
        assert stream.balances()
        until(lambda: f'{ended}"balanced"}}' in service.asked("/metrics")[1])
        stream.rejected("x")
        stream.system.execute("DELETE FROM dead_letters")
        assert not stream.balances()
        until(lambda: f'{ended}"unbalanced"}}' in service.asked("/metrics")[1])


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
    with patch.object(os, "environ", stream.system.environment):
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
    with retrying_in_vain(stream):
        pass
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
