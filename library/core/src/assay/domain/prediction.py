"""What the classifier says of transactions."""

from typing import Final

import polars as pl

NAME: Final = r"^[^\x00-\x1f\x7f]{1,128}$"
"""What names a model, a version, a category or what a model saw: a regular expression."""

VERDICTS: Final = pl.Schema(
    {
        "status": pl.Enum(["ok", "reject", "retry"]),
        "category": pl.String,
        "confidence": pl.Float64,
        "needs_review": pl.Boolean,
        "model_name": pl.String,
        "model_version": pl.String,
        "feature_hash": pl.String,
        "code": pl.String,
        "message": pl.String,
    }
)
"""One row a transaction that was asked about, in the order asked.

- `status`: `ok`, with a prediction; `reject`, with `code` and `message`; `retry`, the model could
  not judge this one now, with `code` and `message`.
- `category`: of the model's taxonomy; `confidence`: a probability in [0, 1].
- `feature_hash`: of what the model saw, where it says so.
- `code`, `message`: why there is no prediction; the message holds no content.
"""

PREDICTIONS: Final = pl.Schema(
    {"row": pl.UInt32}
    | {
        name: VERDICTS[name]
        for name in (
            "category",
            "confidence",
            "needs_review",
            "model_name",
            "model_version",
            "feature_hash",
        )
    }
)
"""The verdicts that are `ok`, by the row of the record in its chunk."""
