"""What follows from one answer of the classifier: doors, and what to ask next."""

from dataclasses import dataclass
from typing import NamedTuple

import polars as pl

from assay.domain.prediction import PREDICTIONS
from assay.domain.reject import faults


@dataclass(frozen=True)
class Ask:
    """Transactions to ask the classifier about in one call.

    Attributes:
        transactions: shaped as `TRANSACTIONS`, one row or more.
        attempt: 1, and more when these rows were answered `retry` before.
        refused: how often exactly these rows were refused before.
        not_before: the time before which they are not asked.
    """

    transactions: pl.DataFrame
    attempt: int = 1
    refused: int = 0
    not_before: float = float("-inf")


class Step(NamedTuple):
    """What one answer led to; each row that was asked about is in one of the three.

    Attributes:
        classified: shaped as `PREDICTIONS`.
        rejects: shaped as `REJECTS`.
        again: asked next, in this order.
    """

    classified: pl.DataFrame
    rejects: pl.DataFrame
    again: tuple[Ask, ...]


def answered(ask: Ask, verdicts: pl.DataFrame, *, attempts: int) -> Step:
    """Sorts an answer by verdict. Rows answered `retry` for the last time are rejected.

    Args:
        ask: what was asked.
        verdicts: shaped as `VERDICTS`, in the order of the rows asked.
        attempts: how often a row is asked in all.
    """
    judged = pl.concat(
        [ask.transactions.select("row", "transaction_id"), verdicts], how="horizontal"
    )
    classified = judged.filter(pl.col("status") == "ok").select(PREDICTIONS.names())
    if classified.height == judged.height:
        return Step(classified, judged.clear().pipe(faults, stage="classify"), ())
    rejected = judged.filter(pl.col("status") == "reject")
    retry = pl.col("status") == "retry"
    if ask.attempt >= attempts:
        given_up = judged.filter(retry).with_columns(
            code=pl.lit("classifier_gave_up"),
            message=pl.format("no answer in {} attempts: {}", pl.lit(attempts), "code"),
        )
        rejected = pl.concat([rejected, given_up])
        again = ()
    else:
        rows = ask.transactions.filter(judged.select(retry).to_series())
        again = (Ask(rows, attempt=ask.attempt + 1),) if rows.height else ()
    rejects = rejected.drop("status").with_columns(retriable=pl.lit(value=True))
    return Step(classified, faults(rejects, stage="classify"), again)


def refused(ask: Ask, reason: str) -> Step:
    """Halves what was refused as a whole; a single row refused twice is the culprit.

    With k culprits among n rows this takes about k · log2(n) calls. The single row is asked once
    more, so that a passing fault condemns nobody.
    """
    rows = ask.transactions
    nothing = pl.DataFrame(schema=PREDICTIONS)
    none = faults(rows.clear().with_columns(code=pl.lit("")), stage="classify")
    if rows.height > 1:
        middle = rows.height // 2
        halves = (rows[:middle], rows[middle:])
        return Step(nothing, none, tuple(Ask(half, attempt=ask.attempt) for half in halves))
    if ask.refused == 0:
        return Step(nothing, none, (Ask(rows, attempt=ask.attempt, refused=1),))
    culprit = rows.select("row", "transaction_id").with_columns(
        code=pl.lit("classifier_refused"), message=pl.lit(reason), retriable=pl.lit(value=True)
    )
    return Step(nothing, faults(culprit, stage="classify"), ())
