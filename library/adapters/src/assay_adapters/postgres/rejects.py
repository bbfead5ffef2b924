"""What becomes of an outcome's rejects: letters of their own or, in a redrive, those it read."""

from typing import Final

import polars as pl
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Connection,
    Text,
    any_,
    func,
    insert,
    literal,
    select,
    update,
)

from assay.domain.errors import Fenced
from assay.domain.outcome import Outcome, letters
from assay.domain.reject import RENEWED
from assay.ports.selection import LOST
from assay_adapters.postgres.copy import copy_into
from assay_adapters.postgres.tables import dead_letter_actions, dead_letters, redrives

_c: Final = dead_letters.c


def keep_letters(connection: Connection, outcome: Outcome, rejects: pl.DataFrame) -> None:
    """Each reject becomes a letter.

    Args:
        connection: within the transaction of the commit.
        outcome: it is committed.
        rejects: all of them, those included that only the tables show.
    """
    copy_into(connection, dead_letters, _made(outcome, rejects))


def settle_letters(connection: Connection, outcome: Outcome, rejects: pl.DataFrame) -> None:
    """The letters that a redrive has read are closed, but those of rejects have failed again.

    A letter that failed again has one attempt more, and is published once more; whoever is
    publishing it just now stamps what it was before. Each letter gets a row of what was done.

    Args:
        connection: as above.
        outcome: of a redrive: its positions are the letters' numbers.
        rejects: as above.

    Raises:
        Fenced: the redrive no longer holds these letters.
    """
    claim = connection.execute(
        update(redrives)
        .where(redrives.c.run_id == outcome.run_id)
        .values(leased_until=func.clock_timestamp() + redrives.c.lease)
        .returning(redrives.c.by, redrives.c.edits)
    ).one_or_none()
    (covered,) = outcome.ranges
    held = select(_c.id, _c.number, _c.code).where(
        _c.redrive == outcome.run_id,
        _c.number >= covered.first,
        _c.number < covered.next,
        _c.state == "open",
    )
    found = connection.execute(held.order_by(_c.id).with_for_update()).all()
    if claim is None or len(found) != covered.read:
        raise Fenced(outcome.ranges, LOST)
    if not found:
        return
    again = _made(outcome, rejects).select(
        pl.col("position").alias("of"), "transaction_id", *RENEWED
    )
    failed = set(again["of"])
    closed = [each.id for each in found if each.number not in failed]
    connection.execute(
        update(dead_letters)
        .where(_c.id == any_(literal(closed, ARRAY(BigInteger))))
        .values(state="closed", tried_at=func.now())
    )
    if failed:
        _fail(connection, outcome.run_id, again)
    connection.execute(
        insert(dead_letter_actions).values(
            run_id=outcome.run_id, by=claim.by, edits=claim.edits or None
        ),
        [
            {
                "letter": each.id,
                "action": "failed" if each.number in failed else "closed",
                "code": each.code,
            }
            for each in found
        ],
    )


def _fail(connection: Connection, run_id: str, again: pl.DataFrame) -> None:
    columns = {
        name: func.unnest(literal(again[name].to_list(), ARRAY(_type(name)))).label(name)
        for name in again.columns
    }
    said = select(*columns.values()).subquery("said")
    connection.execute(
        update(dead_letters)
        .where(_c.redrive == run_id, _c.number == said.c.of)
        .values(
            {name: said.c[name] for name in RENEWED}
            | {
                "transaction_id": func.coalesce(_c.transaction_id, said.c.transaction_id),
                "attempt": _c.attempt + 1,
                "tried_at": func.now(),
                "claim": None,
                "relay": None,
                "leased_until": None,
                "published_at": None,
                "place": None,
            }
        )
    )


def _type(name: str) -> type[BigInteger | Boolean | Text]:
    return {"of": BigInteger, "retriable": Boolean}.get(name, Text)


def _made(outcome: Outcome, rejects: pl.DataFrame) -> pl.DataFrame:
    # PostgreSQL's text holds no NUL; the bytes themselves are in `raw`.
    text = pl.col("transaction_id", "message").str.replace_all("\0", "\ufffd", literal=True)
    return letters(outcome, rejects).with_columns(text)
