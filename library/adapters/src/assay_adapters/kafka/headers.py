"""What a message's headers say of whoever traces it."""

from collections.abc import Sequence
from typing import Final, cast

from confluent_kafka import Message

from assay.domain.position import Partition

_NAME: Final = "traceparent"
_LENGTH: Final = 55  # of version 00
_SAMPLED: Final = frozenset(b"13579bdf")  # the last digit of the flags, whose lowest bit it is
_MOST: Final = 32  # of one call: where a sender traces all, a few say enough


def traced(messages: Sequence[Message]) -> dict[tuple[Partition, int], str]:
    """The `traceparent` of messages that are sampled, by partition and offset; the first few.

    W3C Trace Context, https://www.w3.org/TR/trace-context/. Of a message without headers nothing
    is looked at but that it has none.
    """
    found: dict[tuple[Partition, int], str] = {}
    for message in messages:
        if not (headers := message.headers()) or message.error() is not None:
            continue
        given = dict(cast(list[tuple[str, bytes | None]], headers)).get(_NAME)
        if given is not None and len(given) == _LENGTH and given[-1] in _SAMPLED:
            found[str(message.partition()), message.offset() or 0] = given.decode("latin-1")
            if len(found) == _MOST:
                break
    return found
