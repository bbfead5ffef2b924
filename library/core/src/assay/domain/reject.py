"""Rejects: records that cannot succeed as they are, and the dead letters that they become."""

from typing import Final, Literal, TypeAlias

import polars as pl

Stage: TypeAlias = Literal["decode", "validate", "classify", "commit"]
State: TypeAlias = Literal["open", "closed", "discarded"]
"""What became of a letter: it waits, it succeeded in a redrive, or a person has given it up."""

REDRIVE: Final = "redrive"
"""The source of redrives in the ledger; the partition is the run. Its rejects have their letters
already: what it commits settles the letters that it has claimed and makes none."""

IMPORT: Final = "import"
"""The source of imported letters in the ledger; the partition is the run, and all are rejected."""

RAW_LIMIT: Final = 1 << 20
"""Bytes of a record that are kept; of a longer one the head, the length and the sha256."""

ID_LIMIT: Final = 128
"""Characters that the id of a transaction may have, and that are kept of a longer one."""

REJECTS: Final = pl.Schema(
    {
        "row": pl.UInt32,
        "transaction_id": pl.String,
        "stage": pl.String,
        "code": pl.String,
        "field": pl.String,
        "message": pl.String,
        "retriable": pl.Boolean,
        "model_version": pl.String,
    }
)
"""One row a rejected record of a chunk.

- `row`: its row in the chunk's records, which hold its origin and bytes.
- `transaction_id`: as far as it is known; of one that is too long its first `ID_LIMIT` characters.
- `field`: the column at fault; null where it is the whole record.
- `message`: for people; never holds any content.
- `retriable`: whether the same bytes may succeed later, with another model.
- `model_version`: of the model that rejected it; null elsewhere.
"""

LETTERS: Final = pl.Schema(
    {
        "source": pl.String,
        "partition": pl.String,
        "topic_id": pl.String,
        "position": pl.Int64,
        "key": pl.Binary,
        "raw": pl.Binary,
        "length": pl.Int64,
        "sha256": pl.Binary,
        "header": pl.Binary,
        "transaction_id": pl.String,
        "stage": pl.String,
        "code": pl.String,
        "field": pl.String,
        "message": pl.String,
        "retriable": pl.Boolean,
        "attempt": pl.Int16,
        "model_version": pl.String,
        "run_id": pl.String,
        "destination": pl.String,
    }
)
"""A reject as it is kept. Its origin, source to position, never changes: see `letter_id`.

- `topic_id`: the id of the topic that it comes from, since another one may get its name, whose
  offsets begin anew; null elsewhere, and where it is not known.
- `header`: the raw header record of the file that it comes from, without which its cells have no
  names; null elsewhere.
- `attempt`: how often it has been tried; 1 the first time.
- `destination`: where relays publish it.
"""

RENEWED: Final = ("stage", "code", "field", "message", "retriable", "model_version", "run_id")
"""What a letter takes over from the reject when it is rejected again in a redrive."""


def letter_id(source: str, partition: str, topic_id: str | None, position: int) -> str:
    """The id of a letter for everybody else: no other record has it, in whichever database."""
    made = "" if topic_id is None else f"#{topic_id}"
    return f"{source}/{partition}{made}@{position}"


def faults(
    frame: pl.DataFrame, *, stage: Stage, retriable: bool = False, model_version: str | None = None
) -> pl.DataFrame:
    """Completes rows with `row` and `code` to the shape of `REJECTS`.

    `transaction_id`, `field`, `message`, `retriable` and `model_version` are taken from the frame
    where it has them; the rest is null, or as given.
    """
    given = frame.columns
    constants = {"stage": stage, "retriable": retriable, "model_version": model_version}
    found = frame.select(
        (pl.col(name) if name in given else pl.lit(constants.get(name))).cast(dtype).alias(name)
        for name, dtype in REJECTS.items()
    )
    return found.with_columns(pl.col("transaction_id").str.head(ID_LIMIT))


def no_rejects() -> pl.DataFrame:
    """An empty frame shaped as `REJECTS`."""
    return pl.DataFrame(schema=REJECTS)


def by_code(rejects: pl.DataFrame) -> dict[tuple[str, str], int]:
    """How many rejects there are of each code and field; the field is empty where there is none."""
    if rejects.is_empty():
        return {}
    counted = rejects.group_by("code", "field").len()
    return {(code, field or ""): number for code, field, number in counted.iter_rows()}
