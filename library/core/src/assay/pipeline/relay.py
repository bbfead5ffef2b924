"""The relay: it publishes the dead letters that wait, and stamps them."""

from collections.abc import Callable, Iterator

import polars as pl

from assay.domain.errors import NotTaken
from assay.ports.letters import Claim, Letters
from assay.ports.publisher import Publisher


def _nobody(*_: object) -> None:
    pass


def relay(
    letters: Letters,
    publisher: Publisher,
    destination: str,
    *,
    limit: int = 10_000,
    published: Callable[[Claim], None] = _nobody,
    set_aside: Callable[[pl.DataFrame, NotTaken], None] = _nobody,
) -> Iterator[int]:
    """Publishes what waits for a destination, until nothing does.

    A crash between publishing and stamping publishes a claim again, under the same name. What one
    relay has claimed no other takes before its lease ends. Letters that their destination takes in
    no form hold up no others: they are set aside, and tried again minutes later.

    Args:
        letters: where they wait.
        publisher: where they go.
        destination: those for this one only.
        limit: letters in a claim, at most.
        published: told of each claim that is published and not stamped yet, and so at least once of
            each letter.
        set_aside: told of letters that are set aside, shaped as `LETTERS`, and why.

    Yields:
        The number of letters published, claim by claim.

    Raises:
        Unavailable: of either port; what is not stamped yet waits for the next relay.
    """
    while (claim := letters.claim(destination, limit)) is not None:
        try:
            place = publisher.publish(claim)
        except NotTaken as error:
            place = error.place
            rest = letters.set_aside(claim, error.rows)
            set_aside(claim.letters[error.rows], error)
            claim = rest
        published(claim)
        letters.stamp(claim, place)
        yield claim.letters.height
