"""A challenger is asked what the model was asked, in a thread of its own; nobody waits for it."""

import threading
import traceback
from collections import deque
from typing import Final

import polars as pl
import structlog

from assay.ports.meter import Meter
from assay_ml_api import metrics
from assay_ml_api.predict import Model

WAITING: Final = 100_000
"""Records that may wait for the challenger; those beyond it are skipped."""

_END: Final = 2.0  # seconds that a challenger gets to end in

_log = structlog.stdlib.get_logger(__name__)


class Shadow:
    """Asks challengers and counts how often they agree.

    Args:
        meter: counts.
        waiting: see `WAITING`.
    """

    def __init__(self, meter: Meter, waiting: int = WAITING) -> None:
        self._meter = meter
        self._most = waiting
        self._waiting = 0
        self._queue: deque[tuple[Model, pl.DataFrame, pl.Series]] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._thread: threading.Thread | None = None
        self._failed: Model | None = None

    def offer(self, challenger: Model, transactions: pl.DataFrame, answers: pl.DataFrame) -> None:
        """Has a challenger asked the same, at some time or never; returns at once.

        Args:
            challenger: whom to ask.
            transactions: what was asked.
            answers: what was answered: `category`.
        """
        with self._changed:
            takes = self._waiting + transactions.height <= self._most and not self._ended
            if takes:
                self._waiting += transactions.height
                self._queue.append((challenger, transactions, answers["category"]))
                self._changed.notify()
        if not takes:
            self._count(transactions.height, "skipped")

    def start(self) -> None:
        """Begins to ask."""
        # A challenger that hangs keeps no process alive.
        self._thread = threading.Thread(target=self._ask, name="shadow", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Asks no more; what waits is dropped."""
        with self._changed:
            self._ended = True
            self._queue.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(_END)

    def _ask(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ended)
                if self._ended:
                    return
                challenger, transactions, categories = self._queue.popleft()
            self._compare(challenger, transactions, categories)
            with self._changed:
                self._waiting -= transactions.height

    def _compare(
        self, challenger: Model, transactions: pl.DataFrame, categories: pl.Series
    ) -> None:
        try:
            answers = challenger.predict(transactions)["category"].cast(pl.String)
            agree = int((answers == categories.cast(pl.String)).sum())
        # A panic of polars is no Exception.
        except (Exception, pl.exceptions.PanicException) as error:  # noqa: BLE001 - it is only a challenger
            self._count(transactions.height, "failed")
            if self._failed is not challenger:
                self._failed = challenger
                at = traceback.extract_tb(error.__traceback__)[-1]
                # Its text may quote what was asked, so that only its place is told, and once.
                _log.error(
                    "the challenger failed",
                    version=challenger.version,
                    error=type(error).__name__,
                    at=f"{at.filename}:{at.lineno}",
                )
            return
        self._count(agree, "agree")
        self._count(transactions.height - agree, "disagree")

    def _count(self, records: int, result: str) -> None:
        self._meter.add(metrics.SHADOW_RECORDS, records, result=result)
