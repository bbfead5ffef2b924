"""Which dead letters are meant."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, TypedDict

ENOUGH: Final = timedelta(hours=1)
"""A letter that was tried so long ago is due, however often it has been tried."""


class Filter(TypedDict, total=False):
    """Which letters are meant: those to which all that is given applies.

    Attributes:
        codes: their code is any of these. Where there are none, codes, stages, states and ids
            choose nothing.
        stages: their stage is.
        states: what became of them is: open, closed or discarded.
        ids: their short name is.
        but: their short name is none of these.
        redrive: the redrive that took them last.
        run_id: the run that rejected them last; None is as if it were not given, here and below.
        source: what they were read from.
        source_prefix: that begins so.
        model_version: of the model that rejected them.
        retriable: whether the same bytes may succeed later.
        max_attempts: they have been tried less often than that.
        since: committed at this time or later.
        until: committed before this time.
        due: they were tried last at least that long ago, doubled for each attempt after the first;
            an hour is always enough, unless it says more itself.
        held: whether a redrive that is at work holds them.
        cut: whether they hold the head of their record only.
    """

    codes: Sequence[str]
    stages: Sequence[str]
    states: Sequence[str]
    ids: Sequence[int]
    but: Sequence[int]
    redrive: str | None
    run_id: str | None
    source: str | None
    source_prefix: str | None
    model_version: str | None
    retriable: bool | None
    max_attempts: int | None
    since: datetime | None
    until: datetime | None
    due: timedelta | None
    held: bool | None
    cut: bool | None
