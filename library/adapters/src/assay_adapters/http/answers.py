"""What an API answered, held against what it was asked. Nothing wrong comes through as `ok`."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, cast

import polars as pl

from assay.domain.errors import Refused
from assay.domain.prediction import NAME, VERDICTS
from assay.domain.taxonomy import Taxonomy
from assay.wire import json
from assay.wire.arrow import ANSWERS

INVALID: Final = "invalid_prediction"
UNNAMED: Final = "unnamed"
"""The model's name where the API does not say it."""

_CODE: Final = r"^[a-z][a-z0-9_]{0,63}$"


def read_json(body: bytes) -> pl.DataFrame:
    """The answers in a JSON body, shaped as `ANSWERS`; what has the wrong type is null.

    Raises:
        ValueError: the body is no list of objects.
    """
    answers = json.loads(body, nan_as_null=True)
    if not isinstance(answers, list):
        raise ValueError("not a list")  # noqa: TRY004 - it is the value of a document
    rows: list[dict[str, object]] = []
    for each in cast(list[object], answers):
        if not isinstance(each, dict):
            raise ValueError("not a list of objects")  # noqa: TRY004 - as above
        rows.append(_row(cast(dict[str, Any], each)))
    return pl.DataFrame(rows, schema=ANSWERS)


def verdicts(answers: pl.DataFrame, transactions: pl.DataFrame, taxonomy: Taxonomy) -> pl.DataFrame:
    """A verdict for each transaction, in the order asked.

    Args:
        answers: shaped as `ANSWERS`, as they came.
        transactions: what was asked, with `transaction_id`.
        taxonomy: the categories that may be answered.

    Returns:
        Shaped as `VERDICTS`. Messages are ours: an API's might quote the record.

    Raises:
        Refused: the ids are not those that were asked about. Where only their order differs, and
            no id stands twice, the answers are put into order.
    """
    asked = transactions["transaction_id"]
    if answers.height != asked.len():
        raise Refused(f"the model API answered {answers.height} of {asked.len()} records")
    if not answers["transaction_id"].equals(asked):
        if asked.is_duplicated().any() or not answers["transaction_id"].sort().equals(asked.sort()):
            raise Refused("the model API answered for other ids than it was asked about")
        answers = asked.to_frame().join(
            answers, on="transaction_id", how="left", maintain_order="left"
        )
    return _judged(answers, taxonomy)


def _judged(answers: pl.DataFrame, taxonomy: Taxonomy) -> pl.DataFrame:
    named = {name: pl.col(name).str.contains(NAME) for name in ("model_name", "model_version")}
    valid = pl.all_horizontal(
        pl.col("category").is_in(taxonomy.categories),
        pl.col("confidence").is_between(0, 1),
        pl.col("needs_review").is_not_null(),
        pl.col("feature_hash").str.contains(NAME).fill_null(value=True),
        *named.values(),
    )
    claimed = pl.col("status").cast(pl.String)
    status = (
        pl.when((claimed == "ok") & valid)
        .then(pl.lit("ok"))
        .when(claimed == "retry")
        .then(pl.lit("retry"))
        .otherwise(pl.lit("reject"))
    )
    code = (
        pl.when((claimed != "ok") & pl.col("code").str.contains(_CODE))
        .then("code")
        .otherwise(pl.lit(INVALID))
    )
    ok = pl.col("status") == "ok"
    kept = {"category": ok, "confidence": ok, "needs_review": ok, "feature_hash": ok, **named}
    return (
        answers.with_columns(status=status, code=code)
        .with_columns(pl.when(holds).then(name).alias(name) for name, holds in kept.items())
        .with_columns(code=pl.when(~ok).then("code"))
        .with_columns(message=pl.format("the model API says {}", "code"))
        .select(pl.col(name).cast(dtype) for name, dtype in VERDICTS.items())
    )


def _row(answer: Mapping[str, Any]) -> dict[str, object]:
    model = {"model_name": _text(answer.get("model_name", UNNAMED))}
    model["model_version"] = _text(answer.get("model_version"))
    row: dict[str, object] = {"transaction_id": _text(answer.get("transaction_id")), **model}
    error = answer.get("error")
    if error is not None:
        fault = cast(dict[str, Any], error) if isinstance(error, dict) else {}
        retriable = fault.get("retriable") is True
        return row | {
            "status": "retry" if retriable else "reject",
            "code": _text(fault.get("code")),
        }
    needs_review = answer.get("needs_review")
    return row | {
        "status": "ok",
        "category": _text(answer.get("category")),
        "confidence": _probability(answer.get("confidence_score")),
        "needs_review": needs_review if isinstance(needs_review, bool) else None,
        "feature_hash": _text(answer.get("feature_hash")),
    }


def _text(value: object) -> str | None:
    """Text that a frame can hold."""
    if not isinstance(value, str) or any("\ud800" <= each <= "\udfff" for each in value):
        return None
    return value


def _probability(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value <= 1:
        return None
    return float(value)
