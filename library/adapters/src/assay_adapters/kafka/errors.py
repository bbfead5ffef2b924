"""Errors of librdkafka as those of the core."""

import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from confluent_kafka import KafkaError, KafkaException

from assay.domain.errors import AssayError, Fatal, Unavailable

_NO_TOPIC: Final = (
    "there is no such topic; `assay stream topics` makes those that the settings name"
)
_MENDABLE: Final = {
    KafkaError.SASL_AUTHENTICATION_FAILED: "the login was refused: check ASSAY_KAFKA__SASL_…",
    KafkaError._AUTHENTICATION: "the login was refused: check ASSAY_KAFKA__SASL_…",  # noqa: SLF001 - librdkafka's own name
    KafkaError._SSL: (  # noqa: SLF001 - the same
        "TLS failed: check ASSAY_KAFKA__SECURITY_PROTOCOL, ASSAY_KAFKA__SSL_CA_LOCATION, whether"
        " the brokers' certificates have the host names that are asked for, and the client's own in"
        " ASSAY_KAFKA__PROPERTIES"
    ),
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "this user may not use the topic: give it the rights",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "this user may not use the group: give it the rights",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "this user may not do this: give it the rights",
    KafkaError.UNKNOWN_TOPIC_OR_PART: _NO_TOPIC,
    KafkaError._UNKNOWN_TOPIC: _NO_TOPIC,  # noqa: SLF001 - the same
    KafkaError._UNKNOWN_PARTITION: "the topic has no such partition",  # noqa: SLF001 - the same
    KafkaError.TOPIC_EXCEPTION: "Kafka does not take a topic of this name",
    KafkaError.INVALID_PARTITIONS: "check ASSAY_STREAM__PARTITIONS",
    KafkaError.INVALID_REPLICATION_FACTOR: "check ASSAY_STREAM__REPLICATION",
    KafkaError.POLICY_VIOLATION: "the cluster's policy forbids it",
    KafkaError.FENCED_INSTANCE_ID: (
        "another has the same group instance id: give each its own (--instance-id,"
        " ASSAY_STREAM__INSTANCE_ID)"
    ),
    KafkaError.INVALID_SESSION_TIMEOUT: (
        "the brokers do not take session.timeout.ms of ASSAY_KAFKA__PROPERTIES: it must lie between"
        " their group.min.session.timeout.ms, usually 6000, and group.max.session.timeout.ms"
    ),
    KafkaError._FENCED: "another producer has taken this one's place",  # noqa: SLF001 - the same
    KafkaError._INVALID_ARG: (  # noqa: SLF001 - the same
        "a property is wrong: check ASSAY_KAFKA__PROPERTIES, and the other settings ASSAY_KAFKA__…"
    ),
}


_GOES_AWAY: Final = tuple(
    KafkaError(code).str()
    for code in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT)  # noqa: SLF001 - the same
)
"""What a login failed for that nobody has refused: the broker has ended, or hangs."""

_CERTIFICATE: Final = re.compile(
    "certificate verify failed|alert ((bad |unsupported )?certificate|unknown ca)"
)
"""What is said of a certificate that either side refuses, under whatever code."""
_HUNG_UP: Final = "SSL handshake failed: Disconnected"
"""Of a broker that ends, as well as of one that does not speak TLS."""

NO_TOPIC: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})  # noqa: SLF001 - the same
"""What is said where there is no topic of a name."""


def no_topic(name: str, *, is_read: bool = False) -> Fatal:
    """There is no topic of this name.

    Args:
        name: as settings or options say it.
        is_read: whether it is read into books, which may know one that is deleted.
    """
    said = (
        f"there is no topic {name}; `assay stream topics` makes those that the settings name"
        " (ASSAY_STREAM__TOPIC, …)"
    )
    if is_read:
        said += f". If it was read before and deleted: assay stream accept-gap --topic {name}"
    return Fatal(said)


def error_of(error: KafkaError) -> AssayError:
    """What an error of librdkafka means to the caller: everything passes but a few."""
    error = _unwrapped(error)
    is_refused = _CERTIFICATE.search(error.str()) is not None
    advice = _MENDABLE.get(KafkaError._SSL if is_refused else error.code())  # noqa: SLF001 - librdkafka's own name
    if advice and not _is_broken_off(error):
        return Fatal(f"Kafka ({error.name()}): {advice} ({error.str()})")
    # A consumer's fatal error comes as a message of this code, which does not count as fatal.
    if error.fatal() or error.code() == KafkaError._FATAL:  # noqa: SLF001 - librdkafka's own name
        return Fatal(f"Kafka gave this client up ({error.name()}): {error.str()}")
    return Unavailable(f"Kafka is away ({error.name()}: {error.str()})")


def _unwrapped(error: KafkaError) -> KafkaError:
    """What a fatal error of a consumer is about: librdkafka tells it in words alone, twice."""
    fenced = KafkaError(KafkaError.FENCED_INSTANCE_ID)
    is_fatal = error.code() == KafkaError._FATAL  # noqa: SLF001 - librdkafka's own name
    return fenced if is_fatal and fenced.str() in error.str() else error


def _is_broken_off(error: KafkaError) -> bool:
    """Whether a login or handshake came to no answer: librdkafka has no code of its own for it."""
    if _HUNG_UP in error.str():
        return True
    is_login = error.code() == KafkaError._AUTHENTICATION  # noqa: SLF001 - librdkafka's own name
    return is_login and any(words in error.str() for words in _GOES_AWAY)


@contextmanager
def translated() -> Generator[None]:
    """Errors of librdkafka inside this block leave it as `Unavailable` or `Fatal`."""
    try:
        yield
    except KafkaException as error:
        raise error_of(error.args[0]) from None
