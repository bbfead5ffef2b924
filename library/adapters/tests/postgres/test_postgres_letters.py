"""How much a relay is given to hold at once."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
from sqlalchemy import Engine

from assay.testing.frames import outcome
from assay_adapters.postgres.letters import PostgresLetters
from assay_adapters.postgres.store import PostgresStore

LONG = b"x" * 3_000_000


def test_a_claim_holds_eight_mebibytes_at_most(engine: Engine) -> None:
    """Headers count as well as bytes; a letter that is longer is claimed alone."""
    plain = outcome([], rejected=["x"] * 6)
    raw = pl.Series([LONG, LONG, LONG, LONG * 3, b"", b""])
    given = replace(
        plain,
        headers={"transactions/0": b"h" * 100_000},
        records=plain.records.with_columns(raw=raw),
    )
    PostgresStore(engine, processing_type="batch").commit(given)
    letters = PostgresLetters(engine, "one", lease=timedelta(hours=1))
    sizes: list[int] = []
    while (claim := letters.claim(given.destination, 100)) is not None:
        sizes.append(claim.letters.height)
        letters.stamp(claim, "there")
    assert sizes == [2, 1, 1, 2]
