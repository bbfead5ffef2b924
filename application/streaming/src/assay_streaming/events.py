"""What a service tells on the event topic of itself."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from assay.domain.errors import AssayError, RejectLimitExceeded, Unavailable
from assay.wire.events import State, of_state


class Events(Protocol):
    """Takes events in, holds nothing up and never fails; some may be dropped."""

    def tell(self, events: Iterable[bytes]) -> None:
        """Takes these in, see `assay.wire.events`."""
        ...


@dataclass(frozen=True)
class Told:
    """Changes of state of one run.

    Attributes:
        service: which kind of service it is.
    """

    events: Events
    run_id: str
    service: str

    def away(self, dependency: str, error: Unavailable | None) -> None:
        """A dependency is away and is waited for; with None: it is back."""
        if error is None:
            self._tell("back", dependency=dependency)
        else:
            self._tell("away", dependency=dependency, message=str(error))

    @contextmanager
    def its_life(self) -> Generator[None]:
        """Tells of its start before the block, and how it has ended after it."""
        self._tell("started")
        try:
            yield
        except AssayError as error:
            is_limit = isinstance(error, RejectLimitExceeded)
            self._tell("reject_limit" if is_limit else "failed", message=str(error))
            raise
        except BaseException:
            self._tell("failed")  # without its message, which may hold content
            raise
        self._tell("stopped")

    def _tell(
        self, state: State, *, dependency: str | None = None, message: str | None = None
    ) -> None:
        event = of_state(
            state,
            datetime.now(UTC),
            run=self.run_id,
            service=self.service,
            dependency=dependency,
            message=message,
        )
        self.events.tell([event])
