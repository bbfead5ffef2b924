"""How the settings of Kafka become properties of librdkafka."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from assay.domain.errors import Fatal
from assay_adapters.environment.settings import WrongSettings, load_section, survey
from assay_adapters.kafka.config import KafkaConfig, client_properties
from assay_adapters.kafka.events import KafkaEvents
from assay_adapters.kafka.letters import KafkaLetters
from assay_adapters.kafka.producer import KafkaProducer
from assay_adapters.kafka.reading import WholeRecords
from assay_adapters.kafka.topics import Topics

CLIENTS: list[Callable[[KafkaConfig], object]] = [
    lambda config: KafkaEvents(config, "events", print),
    lambda config: KafkaProducer(config, "transactions"),
    KafkaLetters,
    lambda config: WholeRecords(config)("kafka/transactions", "0", 0),
    Topics,
]


def test_settings_become_properties(tmp_path: Path) -> None:
    """What is set is handed on under librdkafka's names, what is not is left to librdkafka."""
    assert client_properties(KafkaConfig(bootstrap_servers="a:1,b:2")) == {
        "bootstrap.servers": "a:1,b:2",
        "client.id": "assay",
        "security.protocol": "PLAINTEXT",
        "allow.auto.create.topics": False,
        "logger": logging.getLogger("librdkafka"),
        "log_level": 2,
    }
    authorities = tmp_path / "ca.pem"
    authorities.touch()
    config = KafkaConfig.model_validate(
        {
            "bootstrap_servers": "a:1",
            "security_protocol": "SASL_SSL",
            "sasl_username": "somebody",
            "sasl_password": "geheim",
            "ssl_ca_location": str(authorities),
            "properties": {"socket.keepalive.enable": "true"},
        }
    )
    properties = client_properties(config)
    assert properties["sasl.mechanism"] == "SCRAM-SHA-512"
    assert properties["sasl.password"] == "geheim"
    assert properties["ssl.ca.location"] == str(authorities)
    assert properties["socket.keepalive.enable"] == "true"
    assert "geheim" not in repr(config)


@pytest.mark.parametrize(
    "name",
    [
        "group.id",
        "enable.auto.commit",
        "isolation.level",
        "sasl.password",
        "acks",
        "error_cb",
        "oauth_cb",
        "on_delivery",
        "logger",
        "default.topic.config",
    ],
)
def test_properties_that_the_books_depend_on_are_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """So are those that have a setting of their own, and what is no text, as callbacks."""
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", "a:1")
    monkeypatch.setenv("ASSAY_KAFKA__PROPERTIES", json.dumps({name: "x", "linger.ms": "5"}))
    with pytest.raises(WrongSettings, match=f"ASSAY_KAFKA__PROPERTIES: may not set {name}$"):
        load_section("kafka", KafkaConfig)


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (
            {"properties": {"sesion.timeout.ms": "1"}},
            r"ASSAY_KAFKA__PROPERTIES, .*sesion\.timeout\.ms",
        ),
        ({"security_protocol": "SASL_SSL"}, r"sasl\.username"),
        (
            {"security_protocol": "SSL", "ssl_ca_location": "/missing.pem"},
            r"ASSAY_KAFKA__SSL_CA_LOCATION \(ssl\.ca\.location\): there is no file /missing\.pem",
        ),
        (
            {"security_protocol": "SSL", "properties": {"ssl.key.location": "/missing.pem"}},
            r"ASSAY_KAFKA__PROPERTIES: there is no file /missing\.pem, which ssl\.key\.location",
        ),
    ],
)
def test_no_client_takes_a_wrong_property(
    client: Callable[[KafkaConfig], object], settings: dict[str, Any], named: str
) -> None:
    """It is named, at the start; nobody is asked."""
    config = KafkaConfig.model_validate({"bootstrap_servers": "127.0.0.1:1", **settings})
    with pytest.raises(Fatal, match=named):
        client(config)


def test_properties_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an object in JSON; their values are shown nowhere, since some are secrets."""
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", "a:1")
    monkeypatch.setenv("ASSAY_KAFKA__PROPERTIES", '{"ssl.key.password": "geheim"}')
    config = load_section("kafka", KafkaConfig)
    assert config.properties == {"ssl.key.password": "geheim"}
    assert "geheim" not in repr(config)
    rows = {row.name: row.value for row in survey({"kafka": KafkaConfig}).sections["kafka"]}
    assert rows["ASSAY_KAFKA__PROPERTIES"] == "ssl.key.password=**********"
    monkeypatch.setenv("ASSAY_KAFKA__PROPERTIES", "ssl.key.password=geheim")
    with pytest.raises(WrongSettings, match="ASSAY_KAFKA__PROPERTIES") as caught:
        load_section("kafka", KafkaConfig)
    assert "geheim" not in str(caught.value)


def test_the_session_is_what_librdkafka_makes_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """45 s unless the properties say another; they say a number."""
    assert KafkaConfig(bootstrap_servers="a:1").session == 45
    times = {"session.timeout.ms": "6500"}
    assert KafkaConfig(bootstrap_servers="a:1", properties=times).session == 6.5
    monkeypatch.setenv("ASSAY_KAFKA__BOOTSTRAP_SERVERS", "a:1")
    monkeypatch.setenv("ASSAY_KAFKA__PROPERTIES", '{"session.timeout.ms": "10s"}')
    with pytest.raises(WrongSettings, match=r"session\.timeout\.ms must be a whole number"):
        load_section("kafka", KafkaConfig)
