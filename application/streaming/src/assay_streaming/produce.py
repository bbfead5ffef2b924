"""Invented transactions put on the topic, at a pace."""

import math
import time
from datetime import UTC, datetime
from threading import Event

from assay_streaming.generator import Generator
from assay_streaming.outlet import Sent
from assay_streaming.schedule import Schedule


def produce(
    generator: Generator,
    schedule: Schedule,
    sent: Sent,
    asked: Event,
    *,
    records: int | None = None,
    seconds: float | None = None,
) -> None:
    """Sends what is due until so many records are sent, so much time is over, or it is asked.

    Raises:
        Fatal: nothing more is taken.
    """
    began = time.monotonic()
    over = math.inf if seconds is None else began + seconds
    for at, due in schedule:
        if asked.wait(max(0.0, min(began + at, over) - time.monotonic())):
            break
        if time.monotonic() >= over:
            break
        count = due if records is None else min(due, records - sent.produced)
        sent.put(generator.take(count, datetime.now(UTC)), over)
        if asked.is_set() or sent.produced == records:
            break
