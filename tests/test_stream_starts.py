"""A consumer that cannot start says what is wrong, by its name."""

import os
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from system import System

from assay.domain.errors import Fatal, Unavailable
from assay.pipeline.pump import Policy
from assay_adapters.environment.settings import load
from assay_adapters.postgres.runs import start_run
from assay_adapters.status.client import StatusClient
from assay_streaming import dead_letters
from assay_streaming.bootstrap import ConsumerSettings, consumer, dead_letter_service
from assay_streaming.consume import Request, Result


def test_a_topic_that_is_missing_is_named_up_front(system: System, kafka_servers: str) -> None:
    """And what makes it; exit 78."""
    done = system.quick(
        "stream", "consume", "--topic", "misspelt", ASSAY_KAFKA__BOOTSTRAP_SERVERS=kafka_servers
    )
    assert done.exit_code == 78
    assert "error: there is no topic misspelt; `assay stream topics` makes those" in done.errors


def test_a_status_port_that_is_taken_is_named(system: System, kafka_servers: str) -> None:
    """With the option and the setting that choose another one; exit 78."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = system.quick(
            "stream",
            "consume",
            "--status-port",
            port,
            ASSAY_KAFKA__BOOTSTRAP_SERVERS=kafka_servers,
        )
    assert done.exit_code == 78
    assert f"cannot listen on 127.0.0.1:{port}" in done.errors
    assert "set --status-port or ASSAY_STREAM__STATUS_PORT (0 takes a free one)" in done.errors


def test_certificates_that_are_missing_are_named(system: System) -> None:
    """With the setting and librdkafka's own name; exit 78, wherever Kafka is used."""
    away = {
        "ASSAY_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "ASSAY_KAFKA__SECURITY_PROTOCOL": "SSL",
        "ASSAY_KAFKA__SSL_CA_LOCATION": "/missing.pem",
    }
    said = "ASSAY_KAFKA__SSL_CA_LOCATION (ssl.ca.location): there is no file /missing.pem"
    for command in ("consume", "produce", "topics", "dead-letters"):
        done = system.quick("stream", command, **away)
        assert done.exit_code == 78, command
        assert f"error: {said}" in done.errors


def test_no_run_is_noted_of_wrong_properties(system: System) -> None:
    """Nor is health told: they are found with the settings, or right after them."""
    system.environment["ASSAY_KAFKA__BOOTSTRAP_SERVERS"] = "127.0.0.1:1"
    for properties in ('{"sesion.timeout.ms": "10000"}', '{"auto.offset.reset": "latest"}'):
        for command in ("consume", "dead-letters"):
            done = system.quick("stream", command, ASSAY_KAFKA__PROPERTIES=properties)
            assert done.exit_code == 78, command
            assert "ASSAY_KAFKA__PROPERTIES" in done.errors
            assert "health and metrics are told" not in done.errors
    assert system.query("SELECT status FROM runs") == []


def test_what_fails_before_it_begins_is_noted_as_failed(system: System) -> None:
    """Although nobody has said so to the result that is shown."""
    kafka = {"ASSAY_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    with patch.object(os, "environ", system.environment | kafka):
        settings = load(ConsumerSettings)
    stream = Request(str(uuid4()), "kafka/t", "kafka:d", "mine", 45, Policy())
    with pytest.raises(Fatal), consumer(stream, settings, Result(stream.run_id)):
        raise Fatal("refused")
    letters = dead_letters.Request(str(uuid4()), 5, timedelta(0), Policy())
    result = dead_letters.Result(letters.run_id)
    with pytest.raises(Fatal), dead_letter_service(letters, settings, result):
        raise Fatal("refused")
    rows = system.query("SELECT status, summary ->> 'status' FROM runs")
    assert rows == [("failed", "failed")] * 2


def test_a_signal_right_behind_its_row_leaves_no_run_without_an_end(system: System) -> None:
    """However little it has begun with by then."""

    def interrupted(*arguments: Any, **named: Any) -> None:
        start_run(*arguments, **named)
        raise KeyboardInterrupt

    kafka = {"ASSAY_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    with patch.object(os, "environ", system.environment | kafka):
        settings = load(ConsumerSettings)
    stream = Request(str(uuid4()), "kafka/t", "kafka:d", "mine", 45, Policy())
    letters = dead_letters.Request(str(uuid4()), 5, timedelta(0), Policy())
    for service in (
        consumer(stream, settings, Result(stream.run_id)),
        dead_letter_service(letters, settings, dead_letters.Result(letters.run_id)),
    ):
        noting = patch("assay_streaming.bootstrap.start_run", interrupted)
        with noting, pytest.raises(KeyboardInterrupt), service:
            raise AssertionError
    rows = system.query("SELECT status, ended_at IS NULL FROM runs")
    assert rows == [("stopped", False)] * 2


def told(system: System) -> Mapping[str, Any]:
    """What the only consumer says of itself, once it does its work."""
    client, until = StatusClient(), time.monotonic() + 60
    while time.monotonic() < until:
        time.sleep(0.05)
        for (url,) in system.query("SELECT status_url FROM runs WHERE ended_at IS NULL"):
            with suppress(Unavailable):
                if (found := client.ask(url)).is_ready:
                    client.close()
                    return found.facts
    raise AssertionError("no consumer")


def test_another_group_on_the_same_books_is_warned_of(
    system: System, kafka_servers: str, topic: str
) -> None:
    """While it runs."""
    system.environment |= {
        "ASSAY_KAFKA__BOOTSTRAP_SERVERS": kafka_servers,
        "ASSAY_STREAM__TOPIC": topic,
    }
    first = system.start("stream", "consume", "--group", "first")
    assert told(system)["group"] == "first"
    warning = "another group reads this topic into the same database"
    second = system.quick("stream", "consume", "--until-idle", "0", "--group", "second")
    assert second.exit_code == 0
    (line,) = [each for each in second.errors.splitlines() if warning in each]
    assert '"other": "first"' in line
    first.kill()
    first.communicate()
