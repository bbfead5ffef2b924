"""What errors of librdkafka mean to the caller."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from assay.domain.errors import Fatal, Unavailable
from assay_adapters.kafka.errors import error_of, translated


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "`assay stream topics`"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "give it the rights"),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "ASSAY_KAFKA__SASL_"),
        (KafkaError.FENCED_INSTANCE_ID, "give each its own"),
    ],
)
def test_what_does_not_pass_is_fatal_and_says_what_to_do(code: int, advice: str) -> None:
    """Waiting would not help."""
    error = error_of(KafkaError(code, "said by the broker"))
    assert isinstance(error, Fatal)
    assert advice in str(error)
    assert "said by the broker" in str(error)


@pytest.mark.parametrize(
    "code",
    [
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    ],
)
def test_what_passes_is_unavailable(code: int) -> None:
    """The same may succeed later."""
    assert isinstance(error_of(KafkaError(code)), Unavailable)


@pytest.mark.parametrize("reason", ["Local: Broker transport failure", "Local: Timed out"])
def test_a_login_that_comes_to_no_answer_is_unavailable(reason: str) -> None:
    """It has the code of one that is refused."""
    said = f"SASL PLAIN mechanism handshake failed: {reason}: broker's supported mechanisms: (n/a)"
    assert isinstance(error_of(KafkaError(KafkaError._AUTHENTICATION, said)), Unavailable)


@pytest.mark.parametrize("code", [KafkaError._SSL, KafkaError._TRANSPORT])
@pytest.mark.parametrize(
    "said",
    [
        "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed",
        "Receive failed: error:0A00045C:SSL routines::tlsv13 alert certificate required",
        "Receive failed: error:0A000418:SSL routines::tlsv1 alert unknown ca",
    ],
)
def test_a_certificate_that_is_refused_does_not_pass(code: int, said: str) -> None:
    """Under whatever code librdkafka tells of it."""
    error = error_of(KafkaError(code, said))
    assert isinstance(error, Fatal)
    assert "ASSAY_KAFKA__SSL_CA_LOCATION" in str(error)


def test_a_handshake_that_is_broken_off_is_unavailable() -> None:
    """A broker that ends in its middle leaves the same behind as one that speaks no TLS."""
    said = "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?"
    error = error_of(KafkaError(KafkaError._SSL, said))
    assert isinstance(error, Unavailable)
    assert "PLAINTEXT" in str(error)


def test_what_librdkafka_calls_fatal_is() -> None:
    """Such a client can do nothing any more: a new one is needed."""
    error = error_of(KafkaError(KafkaError._STATE, "lost", fatal=True))
    assert isinstance(error, Fatal)
    assert "gave this client up" in str(error)
    assert isinstance(error_of(KafkaError(KafkaError._FATAL, "fenced")), Fatal)


def test_who_is_fenced_is_told_once_which_option_it_is_about() -> None:
    """A consumer's fatal error has no code of its own and says everything twice."""
    reason = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
    said = f"Fatal error: {reason}: Fatal consumer error: {reason}"
    text = str(error_of(KafkaError(KafkaError._FATAL, said)))
    assert text.count(reason) == 1
    assert "(--instance-id, ASSAY_STREAM__INSTANCE_ID)" in text


def test_errors_leave_a_block_translated() -> None:
    """Only those of librdkafka."""
    with pytest.raises(Unavailable), translated():
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))
    with pytest.raises(ValueError, match="other"), translated():
        raise ValueError("other")
