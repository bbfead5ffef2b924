"""What models are unsure of, by groups of equal descriptors, and what people have said of it."""

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Engine, text

from assay_adapters.postgres.connection import translated

# The newest prediction of a transaction counts, by its ledger entry.
_GROUPS: Final = text("""
    WITH waiting AS MATERIALIZED (
        SELECT said.feature_hash, transaction_id, category, confidence, amount, currency
        FROM predictions AS said
        JOIN transactions USING (number)
        WHERE needs_review AND feature_hash IS NOT NULL
            AND (CAST(:model AS text) IS NULL OR :model IN (model_name, model_version))
            AND (CAST(:category AS text) IS NULL OR category = :category)
            AND NOT EXISTS (
                SELECT FROM predictions AS newer
                WHERE newer.number = said.number AND newer.entry > said.entry
                    AND (CAST(:model AS text) IS NULL OR :model IN (model_name, model_version))
            )
            AND NOT EXISTS (
                SELECT FROM corrected_descriptors AS corrected
                WHERE corrected.feature_hash = said.feature_hash
            )
            AND NOT EXISTS (
                SELECT FROM corrected_transactions AS corrected
                WHERE corrected.transaction_id = transactions.transaction_id
            )
    ), measure AS (
        SELECT coalesce(
            CAST(:currency AS text),
            (SELECT currency FROM waiting GROUP BY currency ORDER BY count(*) DESC, 1 LIMIT 1)
        ) AS measure
    ), groups AS (
        SELECT
            feature_hash,
            count(*) AS transactions,
            mode() WITHIN GROUP (ORDER BY category) AS category,
            round(avg(confidence), 4)::float8 AS confidence,
            min(transaction_id) AS example,
            sum(amount) FILTER (WHERE currency = measure) AS amount
        FROM waiting CROSS JOIN measure
        GROUP BY feature_hash
    ), largest AS (
        SELECT
            groups.*,
            row_number() OVER (
                ORDER BY
                    CASE WHEN :by_amount THEN amount END DESC NULLS LAST,
                    transactions DESC,
                    feature_hash
            ) AS place,
            count(*) OVER () AS groups,
            (sum(transactions) OVER ())::bigint AS waiting
        FROM groups
        ORDER BY place
        LIMIT :limit
    ), sums AS (
        SELECT feature_hash, currency, sum(waiting.amount) AS amount
        FROM waiting JOIN largest USING (feature_hash)
        GROUP BY feature_hash, currency
    )
    SELECT
        feature_hash, transactions,
        (
            SELECT jsonb_object_agg(currency, amount::text) FROM sums
            WHERE sums.feature_hash = largest.feature_hash
        ) AS amounts,
        category, confidence, description, merchant, groups, waiting, measure
    FROM largest
    CROSS JOIN measure
    JOIN (SELECT transaction_id, description, merchant FROM transactions) AS shown
        ON transaction_id = example
    ORDER BY place
""")
_SOON_FOUND: Final = text("""
    SELECT feature_hash FROM predictions WHERE needs_review AND feature_hash LIKE :beginning
    UNION
    SELECT feature_hash FROM corrections WHERE feature_hash LIKE :beginning
    ORDER BY feature_hash
    LIMIT 9
""")
_FOUND: Final = text("""
    SELECT DISTINCT feature_hash FROM predictions WHERE feature_hash LIKE :beginning
    ORDER BY feature_hash
    LIMIT 9
""")
_MISSING: Final = {
    "soon": text("""
        SELECT name FROM unnest(CAST(:groups AS text[])) AS asked (name)
        WHERE NOT EXISTS (SELECT FROM predictions WHERE needs_review AND feature_hash = name)
    """),
    "late": text("""
        SELECT name FROM unnest(CAST(:groups AS text[])) AS asked (name)
        WHERE NOT EXISTS (SELECT FROM predictions WHERE feature_hash = name)
    """),
}
_PREDICTED: Final = text("""
    SELECT
        model_name, model_version, category,
        count(*) AS transactions,
        round(avg(confidence), 4)::float8 AS confidence,
        count(*) FILTER (WHERE needs_review) AS needs_review
    FROM predictions
    WHERE feature_hash = :group
    GROUP BY model_name, model_version, category
    ORDER BY max(entry) DESC, transactions DESC, category
""")
_SUMS: Final = text("""
    SELECT currency, side, count(*) AS transactions, sum(amount) AS amount
    FROM transactions
    JOIN (SELECT DISTINCT number FROM predictions WHERE feature_hash = :group) AS members
        USING (number)
    GROUP BY currency, side
    ORDER BY transactions DESC, currency, side
""")
_LATEST: Final = text("""
    SELECT
        transaction_id, timestamp, description, merchant, amount, currency, side,
        own.category AS corrected
    FROM transactions
    JOIN (SELECT DISTINCT number FROM predictions WHERE feature_hash = :group) AS members
        USING (number)
    LEFT JOIN corrected_transactions AS own USING (transaction_id)
    ORDER BY timestamp DESC, transaction_id
    LIMIT :limit
""")
_HOLDS: Final = text(
    "SELECT category, by, at FROM corrected_descriptors WHERE feature_hash = :group"
)
_HISTORY: Final = text("""
    SELECT
        id, at, by, feature_hash, transaction_id, previous, category, reason, description, merchant
    FROM corrections
    WHERE CAST(:group AS text) IS NULL OR feature_hash = :group OR EXISTS (
        SELECT FROM transactions JOIN predictions USING (number)
        WHERE transactions.transaction_id = corrections.transaction_id
            AND predictions.feature_hash = :group
    )
    ORDER BY id DESC
    LIMIT :limit
""")


class Review:
    """Predictions and corrections in PostgreSQL, to be read only.

    A group is what is one descriptor to a model, and has the `feature_hash` of its predictions as
    a name. Those of a model that says no feature hash are in none.

    Every method raises `Unavailable` where PostgreSQL is away, and `Fatal` where the tables cannot
    be used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def groups(
        self,
        *,
        model: str | None = None,
        category: str | None = None,
        by_amount: bool = False,
        currency: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """The groups that need review and that nobody has corrected, largest first.

        Of each transaction the newest prediction counts, of this model where one is named.

        Args:
            model: only what this model, or version of one, says.
            category: only what is taken for it.
            by_amount: whether those of the greatest sum are the largest, in place of those of the
                most transactions.
            currency: the sum in this one; None: in that of the most transactions.
            limit: how many, at most.

        Returns:
            Of each its `feature_hash`, `transactions` (how many), `amounts` (sums of magnitudes by
            currency, as text), `category` (the most frequent), `confidence` (the mean),
            `description` and `merchant` of an example; and of all of them together the number of
            `groups` and of transactions `waiting`, and the currency of the sums (`measure`).
        """
        return self._rows(
            _GROUPS,
            model=model,
            category=category,
            by_amount=by_amount,
            currency=currency,
            limit=limit,
        )

    def find(self, beginning: str) -> list[str]:
        """The groups whose names begin so, nine at most.

        Those that need review or were corrected are looked at first; only where there are none
        every prediction is.
        """
        like = f"{beginning}%"
        found = self._rows(_SOON_FOUND, beginning=like) or self._rows(_FOUND, beginning=like)
        return [each["feature_hash"] for each in found]

    def missing(self, groups: Collection[str]) -> set[str]:
        """Which of these are the whole names of no group."""
        left = set(groups)
        for query in _MISSING.values():
            if left:
                left = {each["name"] for each in self._rows(query, groups=list(left))}
        return left

    def predicted(self, group: str) -> list[dict[str, Any]]:
        """What each version of a model says of a group, and how often, the newest first."""
        return self._rows(_PREDICTED, group=group)

    def sums(self, group: str) -> list[dict[str, Any]]:
        """Number and sum of a group's transactions by currency and side, the most first."""
        return self._rows(_SUMS, group=group)

    def latest(self, group: str, limit: int) -> list[dict[str, Any]]:
        """The latest transactions of a group, each with the correction of its own, if any."""
        return self._rows(_LATEST, group=group, limit=limit)

    def correction(self, group: str) -> dict[str, Any] | None:
        """The correction that holds for a group: `category`, `by`, `at`."""
        return next(iter(self._rows(_HOLDS, group=group)), None)

    def history(self, group: str | None, limit: int) -> list[dict[str, Any]]:
        """What people have said, of one group or of all, the latest first; None is withdrawn."""
        return self._rows(_HISTORY, group=group, limit=limit)

    @translated()
    def _rows(self, query: Any, **given: Any) -> list[dict[str, Any]]:
        with self._engine.connect() as connection:
            rows = connection.execute(query, given).mappings()
            return [dict(row) for row in rows]
