"""Settings of Kafka, section `kafka`: `ASSAY_KAFKA__BOOTSTRAP_SERVERS` and so on."""

import json
import logging
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from assay.domain.errors import Fatal

_OURS: Final = frozenset(
    {
        "acks",
        "auto.offset.reset",
        "bootstrap.servers",
        "client.id",
        "default.topic.config",
        "delivery.report.only.error",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "isolation.level",
        "logger",
        "metadata.broker.list",
        "on_commit",
        "on_delivery",
        "partition.assignment.strategy",
        "request.required.acks",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.password",
        "sasl.username",
        "security.protocol",
        "ssl.ca.location",
        "transactional.id",
    }
)
"""Properties that the books depend on, or that have a setting of their own, by all their names; and
those that no text can be given to, as is true of all callbacks."""

_LOG: Final = logging.getLogger("librdkafka")
# It writes what is fatal whatever the level is; that comes back as an error as well.
_LOG.addFilter(lambda record: record.levelno < logging.CRITICAL)
_CALLBACK: Final = "_cb"
_SESSION: Final = "session.timeout.ms"
_USUAL_SESSION: Final = "45000"  # librdkafka's default


def _object(value: object) -> object:
    """An object out of JSON, as a variable holds it."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(
            'must be an object in JSON such as {"socket.timeout.ms": "9000"}'
        ) from None


def _free(properties: dict[str, str]) -> dict[str, str]:
    """Properties of which each may be set."""
    callbacks = {name for name in properties if name.endswith(_CALLBACK)}
    if taken := sorted((_OURS & properties.keys()) | callbacks):
        raise ValueError(f"may not set {', '.join(taken)}")
    if not properties.get(_SESSION, _USUAL_SESSION).isdecimal():
        raise ValueError(f"{_SESSION} must be a whole number")
    return properties


Properties = Annotated[
    dict[str, str], BeforeValidator(_object), AfterValidator(_free), Field(repr=False)
]


class KafkaConfig(BaseModel):
    """How Kafka is reached. The settings but `properties` are librdkafka's of the same name.

    https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md

    Attributes:
        bootstrap_servers: some of its brokers, `host:port` with commas between them.
        client_id: what the brokers' logs show.
        security_protocol: whether connections are encrypted, and whether a name is asked for.
        sasl_mechanism: where `security_protocol` is a SASL one.
        sasl_username, sasl_password: as the mechanism asks for.
        ssl_ca_location: a PEM file of certificates to trust instead of the usual ones.
        properties: any others of librdkafka, as an object in JSON, but those that the books depend
            on, that have their own setting, or that are no text. Some are secrets, so that none is
            shown.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    bootstrap_servers: str = Field(min_length=1)
    client_id: str = "assay"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_ca_location: str | None = None
    properties: Properties = {}

    @property
    def session(self) -> float:
        """Seconds until a group misses a consumer that tells nothing any more."""
        return int(self.properties.get(_SESSION, _USUAL_SESSION)) / 1_000


def client_properties(config: KafkaConfig) -> dict[str, Any]:
    """The properties that every client has. None makes a topic by asking for it.

    Raises:
        Fatal: a file of TLS is not there.
    """
    if config.security_protocol.endswith("SSL"):
        _require_files(config)
    given: dict[str, Any] = {
        "bootstrap.servers": config.bootstrap_servers,
        "client.id": config.client_id,
        "security.protocol": config.security_protocol,
        # Brokers would make one that is misspelt, with partitions and limits as they have them.
        "allow.auto.create.topics": False,
        "logger": _LOG,  # else it writes to standard error, past the log
        "log_level": 2,  # what matters comes back as an error; a line each attempt helps nobody
    }
    if config.security_protocol.startswith("SASL"):
        given["sasl.mechanism"] = config.sasl_mechanism
        given["sasl.username"] = config.sasl_username
        given["sasl.password"] = (
            config.sasl_password.get_secret_value() if config.sasl_password else None
        )
    if config.ssl_ca_location is not None:
        given["ssl.ca.location"] = config.ssl_ca_location
    return {name: value for name, value in given.items() if value is not None} | config.properties


def _require_files(config: KafkaConfig) -> None:
    """That what TLS needs is there: librdkafka would tell of it in the words of its library.

    Raises:
        Fatal: a file is not.
    """
    place = config.ssl_ca_location
    # It may be a folder, or the word `probe` for librdkafka's own search.
    if place is not None and place != "probe" and not Path(place).exists():
        raise Fatal(f"ASSAY_KAFKA__SSL_CA_LOCATION (ssl.ca.location): there is no file {place}")
    for name, value in config.properties.items():
        if name.startswith("ssl.") and name.endswith(".location") and not Path(value).exists():
            raise Fatal(f"ASSAY_KAFKA__PROPERTIES: there is no file {value}, which {name} names")
