"""Events for those who watch: JSON objects, each a message of the event topic.

| member | of a reject | of a change of state |
|---|---|---|
| `event` | `rejected` | `started`, `away`, `back`, `reject_limit`, `stopped` or `failed` |
| `time` | when it was told, RFC 3339 in UTC | the same |
| `run` | the run that rejected it | the run that it happened to |
| `service` | | `stream` or `dead-letters` |
| `dependency` | | what is away or back |
| `message` | | for people, where there is something to say |
| `id`, `source`, `partition`, `topic_id`, `position` | the record's origin | |
| `stage`, `code`, `field`, `attempt`, `retriable` | as the dead letter has them | |

What does not apply is left out. None holds anything of a record's content.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

import polars as pl

from assay.domain.reject import letter_id

State: TypeAlias = Literal["started", "away", "back", "reject_limit", "stopped", "failed"]

_ORIGIN: Final = ("source", "partition", "topic_id", "position")
_TOLD: Final = ("stage", "code", "field", "attempt", "retriable")


def of_letters(letters: pl.DataFrame, at: datetime) -> Iterator[bytes]:
    """An event for each letter, in the same order.

    Args:
        letters: shaped as `LETTERS`.
        at: now, with a zone.
    """
    columns = (*_ORIGIN, *_TOLD, "run_id")
    for letter in letters.select(columns).iter_rows(named=True):
        run_id = letter.pop("run_id")
        name = letter_id(*(letter[each] for each in _ORIGIN))
        yield _event("rejected", at, run=run_id, id=name, **letter)


def of_state(
    state: State,
    at: datetime,
    *,
    run: str,
    service: str,
    dependency: str | None = None,
    message: str | None = None,
) -> bytes:
    """An event of a change of state.

    Args:
        state: the new one.
        at: now, with a zone.
        run: the run that it happens to.
        service: which kind of.
        dependency: what is away, or back.
        message: for people; holds no content of records.
    """
    return _event(state, at, run=run, service=service, dependency=dependency, message=message)


def _event(event: str, at: datetime, **members: Any) -> bytes:
    told = {name: value for name, value in members.items() if value is not None}
    time = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"event": event, "time": time} | told, separators=(",", ":")).encode()
