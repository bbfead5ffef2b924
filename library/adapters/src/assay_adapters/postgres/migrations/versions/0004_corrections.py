# noqa: INP001 - Alembic loads it by its path
"""What people say of predictions, and views that prefer it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# A correction that a later one of the same subject has followed, or that was withdrawn, holds no
# more. Without DISTINCT ON, so that they join as tables do: by the index for a few transactions, by
# a hash for all of them.
# The newest prediction is one that no later one follows, for the same reason.
# Columns that were there before keep their places, as `CREATE OR REPLACE` demands.
_BESIDE = """
        -- confidence: of the model in its own category, which is predicted
        SELECT
            transactions.transaction_id, description, amount, currency, timestamp, merchant,
            operation_type, side, mcc,
            coalesce(own.category, alike.category, predictions.category) AS category,
            confidence,
            predictions.needs_review AND own.by IS NULL AND alike.by IS NULL AS needs_review,
            model_name, model_version, processing_type, judged.run_id, origin.source,
            origin.partition, position, predictions.created_at,
            predictions.category AS predicted,
            coalesce(own.by, alike.by) AS corrected_by,
            coalesce(own.at, alike.at) AS corrected_at,
            predictions.feature_hash
        FROM transactions
        {predictions} ON predictions.transaction_id = transactions.transaction_id
        LEFT JOIN ledger AS origin ON origin.entry = transactions.entry
        LEFT JOIN ledger AS judged ON judged.entry = predictions.entry
        LEFT JOIN corrected_transactions AS own
            ON own.transaction_id = transactions.transaction_id
        LEFT JOIN corrected_descriptors AS alike ON alike.feature_hash = predictions.feature_hash
"""
_VIEWS = {
    "latest_predictions": (
        "Of each transaction the prediction made last, without what people say",
        """
        SELECT *
        FROM predictions AS said
        WHERE NOT EXISTS (
            SELECT FROM predictions AS later
            WHERE later.transaction_id = said.transaction_id AND later.entry > said.entry
        )
        """,
    ),
    "corrected_descriptors": (
        "What people say of all transactions of a descriptor: the corrections that hold",
        """
        SELECT feature_hash, category, by, at
        FROM corrections AS said
        WHERE feature_hash IS NOT NULL AND category IS NOT NULL AND NOT EXISTS (
            SELECT FROM corrections AS later
            WHERE later.feature_hash = said.feature_hash AND later.id > said.id
        )
        """,
    ),
    "corrected_transactions": (
        "What people say of single transactions: the corrections that hold",
        """
        SELECT transaction_id, category, by, at
        FROM corrections AS said
        WHERE transaction_id IS NOT NULL AND category IS NOT NULL AND NOT EXISTS (
            SELECT FROM corrections AS later
            WHERE later.transaction_id = said.transaction_id AND later.id > said.id
        )
        """,
    ),
    "transactions_with_predictions": (
        "Each transaction beside each of its predictions, as corrected by people",
        _BESIDE.format(predictions="JOIN predictions"),
    ),
    "transactions_with_category": (
        "Each transaction once, with the category that people say, else the newest prediction",
        # Also one whose predictions were deleted.
        _BESIDE.format(predictions="LEFT JOIN latest_predictions AS predictions"),
    ),
    "transaction_stats": (
        "Numbers and sums by category, as corrected by people, and model",
        """
        SELECT
            coalesce(own.category, alike.category, predictions.category) AS category,
            model_name, model_version, currency, side,
            count(*) AS transactions,
            sum(amount) AS amount,
            round(avg(confidence), 4) AS confidence,
            count(*) FILTER (
                WHERE needs_review AND own.by IS NULL AND alike.by IS NULL
            ) AS needs_review,
            min(timestamp) AS earliest,
            max(timestamp) AS latest,
            count(*) FILTER (WHERE own.by IS NOT NULL OR alike.by IS NOT NULL) AS corrected
        FROM transactions
        JOIN predictions ON predictions.transaction_id = transactions.transaction_id
        LEFT JOIN corrected_transactions AS own
            ON own.transaction_id = transactions.transaction_id
        LEFT JOIN corrected_descriptors AS alike ON alike.feature_hash = predictions.feature_hash
        GROUP BY
            coalesce(own.category, alike.category, predictions.category),
            model_name, model_version, currency, side
        """,
    ),
}


def upgrade() -> None:
    """Makes the table, the index of what needs review, and the views."""
    op.create_table(
        "corrections",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="In their order",
        ),
        sa.Column(
            "feature_hash",
            sa.Text(),
            nullable=True,
            comment="All transactions whose prediction has it are meant,",
        ),
        sa.Column(
            "transaction_id",
            sa.Text(collation="C"),
            nullable=True,
            comment="or this one alone; the latest row of either counts",
        ),
        sa.Column(
            "example",
            sa.Text(collation="C"),
            nullable=False,
            comment="The transaction that was looked at; its other predictions tell what other"
            " versions of the model call the descriptor",
        ),
        sa.Column(
            "description",
            sa.Text(),
            nullable=False,
            comment="What the example says, as the supplier wrote it",
        ),
        sa.Column("merchant", sa.Text(), nullable=True, comment="The same of its merchant"),
        sa.Column(
            "previous", sa.Text(), nullable=True, comment="The category that stood until then"
        ),
        sa.Column(
            "category",
            sa.Text(),
            nullable=True,
            comment="The right one; null where the correction is withdrawn",
        ),
        sa.Column("by", sa.Text(), nullable=False, comment="Who says so"),
        sa.Column("reason", sa.Text(), nullable=True, comment="In their own words"),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When",
        ),
        sa.CheckConstraint(
            "num_nonnulls(feature_hash, transaction_id) = 1", name="corrections_subject"
        ),
        sa.PrimaryKeyConstraint("id", name="corrections_pkey"),
        comment="What people say of predictions; rows are added only",
    )
    op.create_index("corrections_feature_hash", "corrections", ["feature_hash", "id"])
    op.create_index("corrections_transaction", "corrections", ["transaction_id", "id"])
    op.create_index(
        "predictions_review",
        "predictions",
        ["feature_hash"],
        postgresql_ops={"feature_hash": "text_pattern_ops"},
        postgresql_where=sa.text("needs_review"),
    )
    for name, (comment, query) in _VIEWS.items():
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {query}")
        op.execute(f"COMMENT ON VIEW {name} IS '{comment}'")
