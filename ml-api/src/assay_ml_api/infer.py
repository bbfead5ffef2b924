"""From an inference request to its response: all that is computed for one call."""

from collections.abc import Iterable
from itertools import repeat
from typing import Final

import polars as pl

from assay.domain.reject import REJECTS
from assay_ml_api import tensors
from assay_ml_api.predict import JSON, Answer, Model, shaped
from assay_ml_api.problems import Problem
from assay_ml_api.records import sort

OCTETS: Final = "application/octet-stream"

# The rules want these of every record, the protocol's users have no reason to send them. What was
# not sent is taken away again once the rules have been asked.
_UNSAID: Final = {
    "amount": "0",
    "currency": None,
    "timestamp": "2000-01-01T00:00:00Z",
    "operation_type": "payment",
    "side": "debit",
}
_SHAPE: Final[dict[str, pl.DataType]] = {
    "row": REJECTS["row"],
    "category": pl.String(),
    "confidence": pl.Float64(),
    "needs_review": pl.Boolean(),
    "error": pl.String(),
}


def check_served(model: Model, name: str, version: str | None) -> None:
    """Returns where a model of this name, and of this version if one is named, is served.

    Raises:
        Problem: 404, another one is.
    """
    if name != model.name:
        raise Problem(404, f"there is no such model; {model.name} is served")
    if version not in (None, model.version):
        raise Problem(404, f"there is no such version; {model.version} is served")


def infer(
    model: Model, body: bytes, *, header_length: int | None, currency: str, max_records: int
) -> Answer:
    """Answers every record of an inference request, in order.

    A record that breaks a rule of the canonical transaction is answered with `error` alone: its
    category is empty, its confidence 0, and it needs review. The model sees of the columns only
    those that were sent, and the currency.

    Args:
        model: who classifies those that pass the rules.
        body: of the request.
        header_length: how many bytes of it are JSON; None for all.
        currency: of records that name none.
        max_records: the most that are taken.

    Raises:
        Problem: as `assay_ml_api.tensors.read`.
    """
    question = tensors.read(body, header_length, max_records)
    good, rejects = sort(_records(question), currency)
    known = ["row", "currency", *(name for name in question.inputs if name != "currency")]
    predictions = model.predict(good.select(known))
    fine = pl.concat([good.select("row"), predictions], how="horizontal").with_columns(
        error=pl.lit("")
    )
    bad = rejects.select(
        "row",
        category=pl.lit(""),
        confidence=pl.lit(0.0),
        needs_review=pl.lit(value=True),
        error=pl.format("{}: {}", "code", "message"),
    )
    answers = pl.concat([shaped(fine, _SHAPE), shaped(bad, _SHAPE)]).sort("row")
    written, json_bytes = tensors.write(
        answers, question, {"model_name": model.name, "model_version": model.version}
    )
    headers = {"content-type": JSON if json_bytes is None else OCTETS}
    if json_bytes is not None:
        headers[tensors.HEADER_LENGTH] = str(json_bytes)
    return Answer(written, headers, predictions, rejects.height)


def _records(question: tensors.Question) -> list[dict[str, object]]:
    """The records as a JSON body would hold them, numbered."""
    columns = dict[str, Iterable[object]](
        transaction_id=map(str, range(question.rows)),
        **{name: repeat(value, question.rows) for name, value in _UNSAID.items()},
    )
    columns |= question.inputs
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
