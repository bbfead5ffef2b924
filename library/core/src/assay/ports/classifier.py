"""Who says what a transaction is."""

from typing import Protocol

import polars as pl


class Classifier(Protocol):
    """One attempt at judging transactions; whoever calls decides about trying again.

    Safe to use from several threads.
    """

    def classify(self, transactions: pl.DataFrame) -> pl.DataFrame:
        """A verdict for each transaction.

        Args:
            transactions: shaped as `TRANSACTIONS`, one row or more. Ids may repeat.

        Returns:
            Shaped as `VERDICTS`: as many rows, in the same order. An `ok` has a category of the
            model's taxonomy and a confidence in [0, 1]; what came back otherwise is a `reject`.

        Raises:
            Unavailable: the model is away; the same call may succeed later.
            Refused: this call as a whole; a part of it may pass.
            Fatal: no call will be accepted (credentials, address, taxonomy).
        """
        ...
