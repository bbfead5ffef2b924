"""Copies what has no record of its own: the books that classifiers keep on topics."""

import time
from contextvars import copy_context
from threading import Event, Thread
from typing import Any, Final, Protocol

import structlog

from assay.domain.errors import Unavailable
from assay.pipeline.retry import FULL_JITTER, delay

_LAST: Final = 10.0  # seconds that the end waits for what there is
_log: Any = structlog.get_logger(__name__)


class Books(Protocol):
    """Books that are copied bit by bit; what was copied may be copied again."""

    @property
    def is_at_end(self) -> bool:
        """Whether all there is was copied, as far as is known."""
        ...

    def copy(self) -> None:
        """Copies what comes within a moment.

        Raises:
            Unavailable: it is copied the next time.
            Fatal: it does not help to try again.
        """
        ...

    def close(self) -> None:
        """Lets go of them."""
        ...


class Copying:
    """Copies books in a thread of its own, beside the records; whoever is away is waited for."""

    def __init__(self, books: Books) -> None:
        """Begins.

        Args:
            books: used from the thread alone, and closed by it.
        """
        self._books = books
        self._is_over = Event()
        self._until = float("inf")  # seconds of the clock by which it ends, at its end or not
        self._fault: BaseException | None = None
        self._thread = Thread(
            target=copy_context().run, args=(self._run,), name="copying", daemon=True
        )
        self._thread.start()

    def look(self) -> None:
        """That it goes on.

        Raises:
            Fatal: it does not.
        """
        if self._fault is not None:
            raise self._fault

    def finish(self) -> None:
        """Ends once all there is was copied, or a while has passed.

        Raises:
            Fatal: it has ended before.
        """
        self._until = time.monotonic() + _LAST
        self._thread.join()
        self.look()

    def stop(self) -> None:
        """Ends it at once: what was not copied is by whoever comes next."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._copy()
        except BaseException as error:  # noqa: BLE001 - raised again by whoever looks
            self._fault = error
        finally:
            self._books.close()

    def _copy(self) -> None:
        attempt = 0
        while not self._is_over.is_set() and time.monotonic() < self._until:
            try:
                self._books.copy()
            except Unavailable as error:
                attempt += 1
                if attempt == 1:
                    _log.warning("the books of the classifiers are waited for", error=str(error))
                self._is_over.wait(delay(FULL_JITTER, attempt, error))
                continue
            if attempt:
                _log.info("the books of the classifiers are copied again")
            attempt = 0
            if self._until < float("inf") and self._books.is_at_end:
                return
