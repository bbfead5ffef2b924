"""What messages' headers say of whoever traces them."""

from confluent_kafka import Message

from assay.testing.tracer import SENT
from assay_adapters.kafka.headers import traced


def message(offset: int, *headers: tuple[str, bytes | None]) -> Message:
    given = {"headers": list(headers)} if headers else {}
    return Message(topic="t", partition=2, offset=offset, value=b"v", **given)  # type: ignore[arg-type]


def test_of_sampled_messages_it_is_kept() -> None:
    """Where it stands; what is not sampled, empty or no `traceparent` is passed over."""
    sampled = SENT.encode()
    found = traced(
        [
            message(1),
            message(2, ("traceparent", sampled)),
            message(3, ("traceparent", sampled[:-1] + b"0")),
            message(4, ("traceparent", sampled[:-1] + b"3"), ("other", b"x")),
            message(5, ("traceparent", None)),
            message(6, ("traceparent", b"01")),
            message(7, ("other", sampled)),
        ]
    )
    assert found == {("2", 2): SENT, ("2", 4): f"{SENT[:-1]}3"}


def test_a_few_say_enough() -> None:
    """A sender that traces all costs no more than that."""
    many = [message(offset, ("traceparent", SENT.encode())) for offset in range(5_000)]
    assert len(traced(many)) == 32
