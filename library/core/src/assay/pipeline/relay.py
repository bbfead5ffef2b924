"""The relay: it publishes the dead letters that wait, and stamps them."""

from collections.abc import Callable, Iterator

from assay.ports.letters import Claim, Letters
from assay.ports.publisher import Publisher


def _nobody(_: Claim) -> None:
    pass


def relay(
    letters: Letters,
    publisher: Publisher,
    destination: str,
    *,
    limit: int = 10_000,
    published: Callable[[Claim], None] = _nobody,
) -> Iterator[int]:
    """Publishes what waits for a destination, until nothing does.

    A crash between publishing and stamping publishes a claim again, under the same name. What one
    relay has claimed no other takes before its lease ends.

    Args:
        letters: where they wait.
        publisher: where they go.
        destination: those for this one only.
        limit: letters in a claim, at most.
        published: told of each claim that is published and not stamped yet, and so at least once of
            each letter.

    Yields:
        The number of letters published, claim by claim.

    Raises:
        Unavailable: of either port; what is not stamped yet waits for the next relay.
    """
    while (claim := letters.claim(destination, limit)) is not None:
        place = publisher.publish(claim)
        published(claim)
        letters.stamp(claim, place)
        yield claim.letters.height
