"""Dead letters as people look them up."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import polars as pl
from sqlalchemy import ColumnElement, Engine, func, select

from assay.domain.reject import LETTERS
from assay_adapters.postgres.connection import translated
from assay_adapters.postgres.tables import dead_letters

_c: Final = dead_letters.c
_MOMENT: Final = pl.Datetime("us", "UTC")

LISTED: Final = pl.Schema(
    {
        "id": pl.Int64,
        **LETTERS,
        "state": pl.String,
        "created_at": _MOMENT,
        "published_at": _MOMENT,
        "place": pl.String,
    }
)
"""A letter as it is listed: what was rejected, and what has become of it since."""


@dataclass(frozen=True, kw_only=True)
class Which:
    """The letters that all of what is given holds for.

    Attributes:
        code: their reject code.
        stage: the stage that rejected them.
        run_id: the run that committed them.
        source: their source.
        state: what has become of them.
        since: committed at this time or later.
        until: committed before this time.
    """

    code: str | None = None
    stage: str | None = None
    run_id: str | None = None
    source: str | None = None
    state: Literal["open", "closed", "discarded"] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The same in SQL."""
        equal = {
            _c.code: self.code,
            _c.stage: self.stage,
            _c.run_id: self.run_id,
            _c.source: self.source,
            _c.state: self.state,
        }
        found = [column == value for column, value in equal.items() if value is not None]
        if self.since is not None:
            found.append(_c.created_at >= self.since)
        if self.until is not None:
            found.append(_c.created_at < self.until)
        return found


@translated()
def letters_table(engine: Engine, which: Which, *, limit: int) -> pl.DataFrame:
    """The letters, latest first, at most `limit`.

    Returns:
        Shaped as `LISTED`.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    wanted = select(*(_c[name] for name in LISTED)).where(*which.conditions())
    with engine.connect() as connection:
        rows = connection.execute(wanted.order_by(_c.id.desc()).limit(limit)).all()
    return pl.DataFrame(rows, schema=LISTED, orient="row")


@translated()
def letter_counts(engine: Engine, which: Which) -> pl.DataFrame:
    """How many letters there are: `stage`, `code`, `letters`, the most frequent first.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    count = func.count().label("letters")
    wanted = (
        select(_c.stage, _c.code, count)
        .where(*which.conditions())
        .group_by(_c.stage, _c.code)
        .order_by(count.desc(), _c.stage, _c.code)
    )
    schema = {"stage": pl.String, "code": pl.String, "letters": pl.Int64}
    with engine.connect() as connection:
        return pl.DataFrame(connection.execute(wanted).all(), schema=schema, orient="row")


@translated()
def letter(engine: Engine, letter_id: int) -> dict[str, Any] | None:
    """One letter by its id, with the columns of `LISTED`; None where there is none.

    Raises:
        Unavailable: PostgreSQL is away.
        Fatal: the tables cannot be used.
    """
    wanted = select(*(_c[name] for name in LISTED)).where(_c.id == letter_id)
    with engine.connect() as connection:
        row = connection.execute(wanted).mappings().one_or_none()
    return None if row is None else dict(row)
