# noqa: INP001 - Alembic loads it by its path
"""Transactions are found by their ledger entry, and the newest prediction of each by a view."""

from alembic import op

revision = "0003"
down_revision = "0002"

_LATEST = """
    CREATE VIEW latest_predictions AS
    SELECT DISTINCT ON (transaction_id) *
    FROM predictions
    ORDER BY transaction_id, entry DESC
"""
_RECONCILIATION = """
    CREATE OR REPLACE VIEW reconciliation AS
    -- misplaced: begins elsewhere than the one before ended (files begin at 0), or was finished
    -- outside: holds rows whose position is not in the range
    -- doubled: rows whose position another row of the range has
    -- equal: classified, transactions, predicted; needs_review, reviewed
    -- of a rescore: no transactions, and its predictions are of those of other entries
    WITH entries AS (
        SELECT *,
            lag(next) OVER ranges AS previous_next,
            lag(end_state) OVER ranges AS previous_end
        FROM ledger
        WINDOW ranges AS (PARTITION BY source, partition ORDER BY first, next)
    ), kept AS (
        SELECT
            entry,
            count(*) AS transactions,
            count(*) - count(DISTINCT position) AS doubled,
            min(position) AS lowest,
            max(position) AS highest
        FROM transactions
        GROUP BY entry
    ), judged AS (
        SELECT
            predictions.entry,
            count(*) AS predicted,
            count(*) FILTER (WHERE predictions.needs_review) AS reviewed
        FROM predictions
        JOIN transactions USING (transaction_id)
        JOIN ledger ON ledger.entry = predictions.entry
        WHERE transactions.entry = predictions.entry OR starts_with(ledger.source, 'rescore/')
        GROUP BY predictions.entry
    )
    SELECT
        source, partition, run_id,
        min(first) AS first,
        max(next) AS next,
        max(end_state) AS end_state,
        count(*) AS ranges,
        sum(read)::bigint AS read,
        sum(classified)::bigint AS classified,
        sum(rejected)::bigint AS rejected,
        sum(duplicate)::bigint AS duplicate,
        sum(needs_review)::bigint AS needs_review,
        count(*) FILTER (WHERE
            previous_end = 'finished'
            OR first <> coalesce(
                previous_next, CASE WHEN partition LIKE '%://%' THEN 0 ELSE first END
            )
        ) AS misplaced,
        count(*) FILTER (WHERE read <> classified + rejected + duplicate) AS unbalanced,
        count(*) FILTER (WHERE lowest < first OR highest >= next) AS outside,
        coalesce(sum(transactions), 0)::bigint AS transactions,
        coalesce(sum(predicted), 0)::bigint AS predicted,
        coalesce(sum(reviewed), 0)::bigint AS reviewed,
        coalesce(sum(doubled), 0)::bigint AS doubled
    FROM entries
    LEFT JOIN kept USING (entry)
    LEFT JOIN judged USING (entry)
    GROUP BY source, partition, run_id
"""


def upgrade() -> None:
    """Makes the index and the view, and lets the books of rescores be held against their rows."""
    op.create_index(
        "transactions_entry",
        "transactions",
        ["entry"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": "on"},
    )
    op.execute(_LATEST)
    op.execute(
        "COMMENT ON VIEW latest_predictions IS 'Of each transaction the prediction made last'"
    )
    op.execute(_RECONCILIATION)
