"""Where records come from."""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Protocol, TypeAlias

from assay.domain.chunk import Chunk, Idle, Revoked
from assay.domain.position import Partition, Positions

AskPositions: TypeAlias = Callable[[Sequence[Partition]], Positions]
Drain: TypeAlias = Callable[[Collection[Partition]], None]


def no_drain(partitions: Collection[Partition]) -> None:
    """Commits nothing: what is given up in the middle is void."""
    del partitions


class Source(Protocol):
    """Hands out chunks in order of position per partition; hands out again what was never acked.

    Used from one thread.
    """

    def events(
        self, positions: AskPositions, drain: Drain = no_drain
    ) -> Iterator[Chunk | Revoked | Idle]:
        """What happens, one event at a time, until everything that there is has been acked.

        Never blocks longer than a tick. Yields `Idle` at once while paused or while it waits for
        acks, so that the loop keeps its membership. On assignment it asks `positions` and starts
        there; a partition that is finished is not read. Where `positions` raises
        `Unavailable`, the partitions wait and it is asked again at a later event.

        Partitions that it is asked to give up, and still owns, it gives up after `drain` has
        returned, which commits what was handed out of them as far as it goes in a short time and
        may call the other methods meanwhile. What is left is void: they come as `Revoked` then.

        Raises:
            Unavailable: what it reads from is away. The iterator is over then, and calling
                `events` again goes on after what was handed out.
            Fatal: it cannot be read at all.
        """
        ...

    def pause(self, on: bool) -> None:  # noqa: FBT001 - on or off, nothing else to say
        """Hands out no chunk while on."""
        ...

    def rewind(self, partitions: Collection[Partition]) -> None:
        """Starts these again from where the store stands.

        Forgets what was handed out of them and not acked, asks `positions` again and starts
        there; does nothing for those that it no longer owns.
        """
        ...

    def ack(self, positions: Positions) -> None:
        """These are committed. Never moves a partition backwards."""
        ...
