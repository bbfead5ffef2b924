"""From a body to the body of its answer: all that is computed for one call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import polars as pl

from assay.domain.reject import REJECTS
from assay.domain.taxonomy import Taxonomy
from assay.wire import arrow, json
from assay.wire.arrow import ANSWERS
from assay_ml_api.problems import Problem
from assay_ml_api.records import sort, sort_columns

JSON: Final = "application/json"
MOST_EXPLAINED: Final = 1_000
"""Records of a call that asks for explanations: one takes as long as some fifty answers."""


class Model(Protocol):
    """What the API asks of a model: see `assay_model.predict.Model`."""

    @property
    def name(self) -> str:
        """The model's name."""
        ...

    @property
    def version(self) -> str:
        """Another whenever an answer may differ."""
        ...

    @property
    def taxonomy(self) -> Taxonomy:
        """The categories that it answers with."""
        ...

    @property
    def reference(self) -> Mapping[str, Any] | None:
        """What its answers looked like at training: see `assay_model.drift.reference`."""
        ...

    def predict(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """`category`, `confidence`, `needs_review`, `feature_hash` for each, in order.

        There may be `seen` (Boolean, no nulls) as well: whether training knew the descriptor.
        """
        ...

    def explain(self, transactions: pl.DataFrame, categories: pl.Series) -> pl.Series:
        """What speaks for these categories: see `assay_model.explain.PARTS`."""
        ...


@dataclass(frozen=True)
class Answer:
    """An answer, what the model said for it, and how many records were rejected."""

    body: bytes
    headers: Mapping[str, str]
    predictions: pl.DataFrame
    rejected: int


def predict(
    model: Model,
    body: bytes,
    *,
    asked: str,
    accepted: str,
    currency: str,
    max_records: int,
    explain: bool = False,
) -> Answer:
    """Answers every record of a body, in order.

    Args:
        model: who classifies those that pass the rules.
        body: of the content type `asked`.
        asked: the content type of the question, one of `CONTENT_TYPES`.
        accepted: the content type of the answer, one of `CONTENT_TYPES`.
        currency: of JSON records that name none.
        max_records: the most that are taken.
        explain: whether each prediction comes with what speaks for it; `accepted` is JSON then,
            and of records `MOST_EXPLAINED` are taken.

    Raises:
        Problem: 400, the body is not what its content type says; 413, it has too many records.
    """
    limit = min(max_records, MOST_EXPLAINED) if explain else max_records
    good, rejects = _READERS[asked](body, currency, limit)
    predictions = model.predict(good)
    if explain:
        explanation = model.explain(good, predictions["category"]).alias("explanation")
        predictions = predictions.with_columns(explanation)
    answers = _answers(model, good, predictions, rejects)
    headers = {"content-type": accepted}
    return Answer(_WRITERS[accepted](answers), headers, predictions, rejects.height)


def _read_json(body: bytes, currency: str, limit: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    try:
        records = json.loads(body)
    except ValueError as error:
        raise Problem(400, str(error)) from None
    if not isinstance(records, list):
        raise Problem(400, "the body must be a list of transactions")
    records = cast(Sequence[object], records)
    _limit(len(records), limit)
    return sort(records, currency)


def _read_arrow(body: bytes, currency: str, limit: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    del currency  # a column that is null there has been left out on purpose
    try:
        transactions = arrow.read_transactions(body)
    except ValueError as error:
        raise Problem(400, str(error)) from None
    _limit(transactions.height, limit)
    return sort_columns(transactions)


def _limit(records: int, limit: int) -> None:
    if records > limit:
        raise Problem(413, f"a call may have {limit} records at most")


def _answers(
    model: Model, good: pl.DataFrame, predictions: pl.DataFrame, rejects: pl.DataFrame
) -> pl.DataFrame:
    """The answers to both, in the order of their rows.

    Shaped as `ANSWERS`, with `explanation` beside where the predictions have it.
    """
    ok = pl.concat([good.select("row", "transaction_id"), predictions], how="horizontal")
    ok = ok.with_columns(
        status=pl.lit("ok"),
        model_name=pl.lit(model.name),
        model_version=pl.lit(model.version),
    )
    bad = rejects.select("row", "transaction_id", "code", "message").with_columns(
        status=pl.lit("reject")
    )
    shape = {"row": REJECTS["row"], **ANSWERS}
    if "explanation" in ok.columns:
        shape["explanation"] = ok.schema["explanation"]
    return pl.concat([shaped(ok, shape), shaped(bad, shape)]).sort("row").drop("row")


def shaped(frame: pl.DataFrame, shape: dict[str, pl.DataType]) -> pl.DataFrame:
    """These columns of these types; null where the frame has none."""
    return frame.select(
        (pl.col(name) if name in frame.columns else pl.lit(None)).cast(dtype).alias(name)
        for name, dtype in shape.items()
    )


def _write_json(answers: pl.DataFrame) -> bytes:
    """A list of predictions and failures: see `assay_ml_api.documents`."""
    prediction = pl.struct(
        "transaction_id",
        "category",
        pl.col("confidence").alias("confidence_score"),
        "needs_review",
        "model_version",
        "model_name",
        "feature_hash",
        *(each for each in ("explanation",) if each in answers.columns),
    )
    error = pl.struct("code", "message", (pl.col("status") == "retry").alias("retriable"))
    failure = pl.struct("transaction_id", error.alias("error"))
    objects = (
        pl.when(pl.col("status") == "ok")
        .then(prediction.struct.json_encode())
        .otherwise(failure.struct.json_encode())
    )
    return json.write_objects(answers.select(objects=objects)["objects"])


_READERS: Final[dict[str, Callable[[bytes, str, int], tuple[pl.DataFrame, pl.DataFrame]]]] = {
    JSON: _read_json,
    arrow.CONTENT_TYPE: _read_arrow,
}
_WRITERS: Final[dict[str, Callable[[pl.DataFrame], bytes]]] = {
    JSON: _write_json,
    arrow.CONTENT_TYPE: arrow.write_verdicts,
}
CONTENT_TYPES: Final = tuple(_READERS)
