"""What makes two records the same: derived ids and content hashes, both versioned."""

from hashlib import blake2b
from typing import Final

import polars as pl

from assay.domain.rules import COLUMNS

_UNIT: Final = "\x1f"
_NULL: Final = "\x00"  # no canonical text holds one


def content_hash(transactions: pl.DataFrame) -> pl.Series:
    """The 16-byte BLAKE2b digest of each row's canonical columns but its id.

    Serialisation, version 1: the columns in canonical order, each as text (the timestamp as
    microseconds since 1970, null as a NUL), after the lengths of the two free texts, which keep
    them apart; joined by U+001F.

    Args:
        transactions: with the canonical columns.

    Returns:
        Binary, named `content_hash`, in the order of the rows.
    """
    text = {name: pl.col(name) for name in COLUMNS if name != "transaction_id"}
    text["timestamp"] = pl.col("timestamp").dt.epoch("us").cast(pl.String)
    text["amount"] = pl.col("amount").cast(pl.String)
    lengths = (pl.col(name).str.len_bytes().cast(pl.String) for name in ("description", "merchant"))
    serialised = transactions.select(
        pl.concat_str(
            [
                pl.lit("1"),
                *(each.fill_null(_NULL) for each in lengths),
                *(each.fill_null(_NULL) for each in text.values()),
            ],
            separator=_UNIT,
        ).cast(pl.Binary)
    ).to_series()
    return _digests("content_hash", serialised)


def derived_ids(contract_id: str, records: pl.DataFrame) -> pl.Series:
    """Ids for records that have none: the same record of the same file gets the same id again.

    The id is the 16-byte BLAKE2b digest, as 32 hexadecimal digits, of the contract's id, the
    record's occurrence number among equal records of its file and its cells, version 1.

    Args:
        contract_id: of the contract that the records are read by.
        records: `occurrence`, and the raw cells as any number of further string columns, in the
            order of the file.

    Returns:
        String, named `transaction_id`, in the order of the rows; null where the occurrence is:
        nobody counted.
    """
    serialised = records.select(
        pl.concat_str(
            [
                pl.lit(f"1{_UNIT}{contract_id}"),
                pl.col("occurrence").cast(pl.String),
                *(
                    pl.col(name).fill_null(_NULL)
                    for name in records.columns
                    if name != "occurrence"
                ),
            ],
            separator=_UNIT,
        ).cast(pl.Binary)
    ).to_series()
    return _digests("transaction_id", serialised).bin.encode("hex")


def _digests(name: str, serialised: pl.Series) -> pl.Series:
    # polars has no hash that is the same in every version.
    digests = [
        None if each is None else blake2b(each, digest_size=16).digest()
        for each in serialised.to_list()
    ]
    return pl.Series(name, digests, dtype=pl.Binary)
