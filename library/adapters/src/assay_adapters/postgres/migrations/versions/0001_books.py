# noqa: INP001 - Alembic loads it by its path
"""All tables and views."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
serves = "0001"  # the newest revision of the oldest Assay that goes on with these tables

# A correction that a later one of the same subject has followed, or that was withdrawn, holds no
# more. Without DISTINCT ON, so that they join as tables do: by the index for a few transactions, by
# a hash for all of them.
# The newest prediction is one that no later one follows, for the same reason.
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
        {predictions} ON predictions.number = transactions.number
        LEFT JOIN ledger AS origin ON origin.entry = transactions.entry
        LEFT JOIN ledger AS judged ON judged.entry = predictions.entry
        LEFT JOIN corrected_transactions AS own
            ON own.transaction_id = transactions.transaction_id
        LEFT JOIN corrected_descriptors AS alike ON alike.feature_hash = predictions.feature_hash
"""
_VIEWS = {
    "unprocessed_transactions": (
        "Transactions without any prediction",
        """
        SELECT transactions.*
        FROM transactions
        WHERE NOT EXISTS (
            SELECT FROM predictions WHERE predictions.number = transactions.number
        )
        """,
    ),
    "latest_predictions": (
        "Of each transaction the prediction made last, without what people say",
        """
        SELECT *
        FROM predictions AS said
        WHERE NOT EXISTS (
            SELECT FROM predictions AS later
            WHERE later.number = said.number AND later.entry > said.entry
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
        JOIN predictions USING (number)
        LEFT JOIN corrected_transactions AS own
            ON own.transaction_id = transactions.transaction_id
        LEFT JOIN corrected_descriptors AS alike ON alike.feature_hash = predictions.feature_hash
        GROUP BY
            coalesce(own.category, alike.category, predictions.category),
            model_name, model_version, currency, side
        """,
    ),
    "reconciliation": (
        "The books beside the rows, which agree where reconcile finds nothing",
        """
        -- misplaced: begins elsewhere than the one before ended (files begin at 0), or was finished
        -- outside: holds rows whose position is not in the range
        -- doubled: rows whose position another row of the range has
        -- equal: classified, transactions, predicted; needs_review, reviewed
        -- of a rescore: no transactions, and its predictions are of those of other entries
        -- is_published: what was classified is on a topic, and there are no rows of it
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
            JOIN transactions USING (number)
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
            coalesce(sum(doubled), 0)::bigint AS doubled,
            bool_or(predictions IS NOT NULL) AS is_published
        FROM entries
        LEFT JOIN kept USING (entry)
        LEFT JOIN judged USING (entry)
        GROUP BY source, partition, run_id
        """,
    ),
}


def upgrade() -> None:
    """Makes all tables and views."""
    op.execute(sa.schema.CreateSequence(sa.Sequence("ledger_entry")))
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
            comment="The transaction that was looked at; its other predictions tell what "
            "other versions of the model call the descriptor",
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
    op.create_index("corrections_feature_hash", "corrections", ["feature_hash", "id"], unique=False)
    op.create_index(
        "corrections_transaction", "corrections", ["transaction_id", "id"], unique=False
    )
    op.create_table(
        "dead_letter_actions",
        sa.Column(
            "id",
            sa.BigInteger(),
            sa.Identity(always=True),
            nullable=False,
            comment="In their order",
        ),
        sa.Column("letter", sa.BigInteger(), nullable=False, comment="The dead letter"),
        sa.Column(
            "action",
            sa.Text(),
            nullable=False,
            comment="closed, failed (again), discarded or imported",
        ),
        sa.Column(
            "at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When",
        ),
        sa.Column(
            "run_id",
            sa.Text(collation="C"),
            nullable=True,
            comment="In which run; null where a person has discarded it",
        ),
        sa.Column("by", sa.Text(), nullable=False, comment="Who has asked for it"),
        sa.Column(
            "code", sa.Text(), nullable=False, comment="Why the letter was rejected until then"
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="The person's own words"),
        sa.Column(
            "edits",
            postgresql.JSONB(),
            nullable=True,
            comment="What a redrive put in place of some columns",
        ),
        sa.CheckConstraint(
            "action IN ('closed', 'failed', 'discarded', 'imported')",
            name="dead_letter_actions_action",
        ),
        sa.PrimaryKeyConstraint("id", name="dead_letter_actions_pkey"),
        comment="What was done with dead letters after they were rejected",
    )
    op.create_index("dead_letter_actions_letter", "dead_letter_actions", ["letter"], unique=False)
    op.create_table(
        "dead_letters",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="A short name"
        ),
        sa.Column("source", sa.Text(collation="C"), nullable=False, comment="Origin: source,"),
        sa.Column("partition", sa.Text(collation="C"), nullable=False, comment="partition"),
        sa.Column("position", sa.BigInteger(), nullable=False, comment="and position"),
        sa.Column("key", sa.LargeBinary(), nullable=True, comment="The message's own key"),
        sa.Column(
            "raw",
            sa.LargeBinary(),
            nullable=True,
            comment="The record's bytes; beyond 1 MiB its head",
        ),
        sa.Column("length", sa.BigInteger(), nullable=False, comment="Bytes of the whole record"),
        sa.Column(
            "sha256",
            sa.LargeBinary(),
            nullable=True,
            comment="Of the whole record where raw is cut",
        ),
        sa.Column(
            "header", sa.LargeBinary(), nullable=True, comment="The file's raw header record"
        ),
        sa.Column("transaction_id", sa.Text(), nullable=True, comment="As far as it is known"),
        sa.Column(
            "stage", sa.Text(), nullable=False, comment="decode, validate, classify or commit"
        ),
        sa.Column("code", sa.Text(), nullable=False, comment="Why it was rejected"),
        sa.Column(
            "field",
            sa.Text(),
            nullable=True,
            comment="The column at fault; null where it is the whole record",
        ),
        sa.Column(
            "message", sa.Text(), nullable=True, comment="The same for people, without content"
        ),
        sa.Column(
            "retriable",
            sa.Boolean(),
            nullable=False,
            comment="Whether the same bytes may succeed later",
        ),
        sa.Column(
            "attempt", sa.SmallInteger(), nullable=False, comment="How often it has been tried"
        ),
        sa.Column(
            "model_version", sa.Text(), nullable=True, comment="Of the model that rejected it"
        ),
        sa.Column(
            "run_id", sa.Text(collation="C"), nullable=False, comment="The run that committed it"
        ),
        sa.Column(
            "destination", sa.Text(collation="C"), nullable=False, comment="Where relays publish it"
        ),
        sa.Column(
            "state",
            sa.Text(),
            server_default="open",
            nullable=False,
            comment="open, closed (it succeeded later) or discarded (by a person)",
        ),
        sa.Column(
            "claim",
            sa.Text(collation="C"),
            nullable=True,
            comment="The name under which a relay publishes it",
        ),
        sa.Column("relay", sa.Text(), nullable=True, comment="The relay that holds the claim"),
        sa.Column(
            "leased_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Until when other relays leave the claim alone",
        ),
        sa.Column(
            "published_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was published; null while it waits",
        ),
        sa.Column("place", sa.Text(), nullable=True, comment="Where it was published"),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was committed",
        ),
        sa.Column(
            "redrive",
            sa.Text(collation="C"),
            nullable=True,
            comment="The run of the redrive that took it last",
        ),
        sa.Column(
            "number",
            sa.BigInteger(),
            nullable=True,
            comment="and its number among those that it took",
        ),
        sa.Column(
            "tried_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was tried last in a redrive",
        ),
        sa.Column(
            "import_run",
            sa.Text(collation="C"),
            nullable=True,
            comment="The run that imported it; null where it was rejected here",
        ),
        sa.Column(
            "topic_id",
            sa.Text(collation="C"),
            nullable=True,
            comment="Of its origin: the topic's id, where it is one that has an id",
        ),
        sa.Column(
            "books",
            sa.Text(collation="C"),
            nullable=True,
            comment="What stands after the partition's name and # in that of its books: the"
            " accept-gap that put them aside, or group and topic's id where they are copies",
        ),
        sa.CheckConstraint("state IN ('open', 'closed', 'discarded')", name="dead_letters_state"),
        sa.PrimaryKeyConstraint("id", name="dead_letters_pkey"),
        comment="Every record that was rejected, once",
    )
    op.create_index(
        "dead_letters_imported",
        "dead_letters",
        ["source", "partition", "position", "topic_id", "books"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("import_run IS NOT NULL"),
    )
    op.create_index(
        "dead_letters_open",
        "dead_letters",
        ["code"],
        unique=False,
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index(
        "dead_letters_origin",
        "dead_letters",
        ["source", "partition", "position", "books"],
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=sa.text("import_run IS NULL"),
    )
    op.create_index(
        "dead_letters_redrive",
        "dead_letters",
        ["redrive", "number"],
        unique=False,
        postgresql_where=sa.text("redrive IS NOT NULL"),
    )
    op.create_index(
        "dead_letters_waiting",
        "dead_letters",
        ["destination", "claim", "source", "partition", "position"],
        unique=False,
        postgresql_where=sa.text("published_at IS NULL"),
    )
    op.create_table(
        "ledger",
        sa.Column(
            "entry",
            sa.BigInteger(),
            nullable=False,
            comment="Its number; transactions and predictions carry it",
        ),
        sa.Column("source", sa.Text(collation="C"), nullable=False, comment="The range's source"),
        sa.Column("partition", sa.Text(collation="C"), nullable=False, comment="its partition"),
        sa.Column("first", sa.BigInteger(), nullable=False, comment="Its first position"),
        sa.Column("next", sa.BigInteger(), nullable=False, comment="The position after its last"),
        sa.Column(
            "read",
            sa.BigInteger(),
            nullable=False,
            comment="Records in it: classified + rejected + duplicate",
        ),
        sa.Column(
            "classified",
            sa.BigInteger(),
            nullable=False,
            comment="Of these, kept as transaction and prediction",
        ),
        sa.Column(
            "rejected", sa.BigInteger(), nullable=False, comment="Of these, kept as dead letter"
        ),
        sa.Column(
            "duplicate",
            sa.BigInteger(),
            nullable=False,
            comment="Of these, known already with the same content",
        ),
        sa.Column(
            "needs_review",
            sa.BigInteger(),
            nullable=False,
            comment="Of the classified ones, those that the model is unsure of",
        ),
        sa.Column(
            "run_id", sa.Text(collation="C"), nullable=False, comment="The run that committed it"
        ),
        sa.Column(
            "accepts_rejects",
            sa.Boolean(),
            nullable=False,
            comment="Whether the run's reject limit was raised; its rejects do not count later",
        ),
        sa.Column(
            "end_state",
            sa.Text(),
            nullable=True,
            comment="finished or abandoned on a partition's last range",
        ),
        sa.Column(
            "predictions",
            sa.Text(collation="C"),
            nullable=True,
            comment="The source that its classified records are read from, where they were put on a"
            " topic; null where they are rows",
        ),
        sa.Column(
            "committed_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was committed",
        ),
        sa.Column(
            "copied_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it was copied from a topic; null where it was committed here",
        ),
        sa.CheckConstraint("end_state IN ('finished', 'abandoned')", name="ledger_end_state"),
        sa.CheckConstraint(
            "first >= 0 AND read <= next - first AND (first < next OR end_state IS "
            "NOT DISTINCT FROM 'finished')",
            name="ledger_range",
        ),
        sa.CheckConstraint(
            "classified >= 0 AND rejected >= 0 AND duplicate >= 0 AND needs_review "
            "BETWEEN 0 AND classified",
            name="ledger_counts",
        ),
        sa.CheckConstraint("read = classified + rejected + duplicate", name="ledger_balance"),
        sa.PrimaryKeyConstraint("source", "partition", "first", name="ledger_pkey"),
        sa.UniqueConstraint("entry", name="ledger_entry_key"),
        comment="One entry per committed range: the books",
    )
    op.create_index(
        "ledger_recent", "ledger", ["source", sa.literal_column("entry DESC")], unique=False
    )
    op.create_index(
        "ledger_predictions",
        "ledger",
        ["predictions"],
        unique=False,
        postgresql_where=sa.text("predictions IS NOT NULL"),
    )
    op.create_table(
        "copies",
        sa.Column("topic", sa.Text(collation="C"), nullable=False, comment="A topic of books, its"),
        sa.Column("partition", sa.Text(collation="C"), nullable=False, comment="partition,"),
        sa.Column(
            "next",
            sa.BigInteger(),
            nullable=False,
            comment="and the first offset of it that is not copied yet",
        ),
        sa.Column("numbering", sa.Text(), nullable=True, comment="The topic's id"),
        sa.PrimaryKeyConstraint("topic", "partition", name="copies_pkey"),
        comment="How far the books that classifiers keep on topics are copied into these tables",
    )
    op.create_table(
        "positions",
        sa.Column(
            "source", sa.Text(collation="C"), nullable=False, comment="The partition's source"
        ),
        sa.Column("partition", sa.Text(collation="C"), nullable=False, comment="its name"),
        sa.Column(
            "next",
            sa.BigInteger(),
            nullable=False,
            comment="The first position that is not committed yet",
        ),
        sa.Column(
            "end_state",
            sa.Text(),
            nullable=True,
            comment="finished: never read again; abandoned: if it is back",
        ),
        sa.Column(
            "numbering",
            sa.Text(),
            nullable=True,
            comment="What its positions count, where that may change",
        ),
        sa.Column(
            "run_id", sa.Text(collation="C"), nullable=False, comment="The run that moved it last"
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was moved last",
        ),
        sa.CheckConstraint("end_state IN ('finished', 'abandoned')", name="positions_end_state"),
        sa.PrimaryKeyConstraint("source", "partition", name="positions_pkey"),
        comment="Where reading of each partition continues",
    )
    op.create_table(
        "predictions",
        sa.Column(
            "number", sa.BigInteger(), nullable=False, comment="The transaction that it is about"
        ),
        sa.Column(
            "model_name", sa.Text(collation="C"), nullable=False, comment="The model that made it"
        ),
        sa.Column(
            "model_version", sa.Text(collation="C"), nullable=False, comment="and its version"
        ),
        sa.Column("category", sa.Text(), nullable=False, comment="Of the model's taxonomy"),
        sa.Column(
            "confidence",
            sa.Numeric(precision=5, scale=4),
            nullable=False,
            comment="Probability in [0, 1]",
        ),
        sa.Column(
            "needs_review", sa.Boolean(), nullable=False, comment="Whether the model is unsure"
        ),
        sa.Column(
            "feature_hash",
            sa.Text(),
            nullable=True,
            comment="Of what the model saw, where it says so",
        ),
        sa.Column(
            "entry",
            sa.BigInteger(),
            nullable=False,
            comment="The ledger entry that it was committed with, which names the run",
        ),
        sa.Column(
            "processing_type",
            sa.Text(),
            nullable=False,
            comment="The kind of that run: batch, stream, …",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was committed",
        ),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name="predictions_confidence"),
        sa.PrimaryKeyConstraint("number", "model_name", "model_version", name="predictions_pkey"),
        comment="What each model said of each transaction",
    )
    op.create_index(
        "predictions_review",
        "predictions",
        ["feature_hash"],
        unique=False,
        postgresql_ops={"feature_hash": "text_pattern_ops"},
        postgresql_where=sa.text("needs_review"),
    )
    op.create_table(
        "redrives",
        sa.Column("run_id", sa.Text(collation="C"), nullable=False, comment="The run"),
        sa.Column(
            "lease", sa.Interval(), nullable=False, comment="How long it is left alone by others"
        ),
        sa.Column(
            "leased_until",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Until when; each commit begins the lease anew",
        ),
        sa.Column("by", sa.Text(), nullable=False, comment="Who has asked for it"),
        sa.Column(
            "edits",
            postgresql.JSONB(),
            nullable=False,
            comment="What stands in some columns of every record",
        ),
        sa.PrimaryKeyConstraint("run_id", name="redrives_pkey"),
        comment="Redrives that hold dead letters just now",
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.Text(collation="C"), nullable=False, comment="Its name"),
        sa.Column("kind", sa.Text(), nullable=False, comment="batch, stream, redrive, …"),
        sa.Column("source", sa.Text(), nullable=False, comment="What it reads"),
        sa.Column("host", sa.Text(), nullable=False, comment="The machine that it runs on"),
        sa.Column("version", sa.Text(), nullable=False, comment="The version of Assay"),
        sa.Column(
            "status_url",
            sa.Text(),
            nullable=True,
            comment="Where it tells its health and metrics while it runs",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it began",
        ),
        sa.Column(
            "ended_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it ended; null while it runs, or where it was killed",
        ),
        sa.Column("status", sa.Text(), nullable=True, comment="How it ended; null until it has"),
        sa.Column(
            "summary",
            postgresql.JSONB(),
            nullable=True,
            comment="What it printed last; null until it has ended",
        ),
        sa.PrimaryKeyConstraint("run_id", name="runs_pkey"),
        comment="Every execution of a service",
    )
    op.create_table(
        "transactions",
        sa.Column(
            "transaction_id",
            sa.Text(collation="C"),
            nullable=False,
            comment="Given by the supplier, or derived from the record's content",
        ),
        sa.Column(
            "number",
            sa.BigInteger(),
            nullable=False,
            comment="What predictions name it by: ascends with the commits, see entry",
        ),
        sa.Column("description", sa.Text(), nullable=False, comment="As the supplier wrote it"),
        sa.Column(
            "amount",
            sa.Numeric(precision=18, scale=2),
            nullable=False,
            comment="A magnitude; see side",
        ),
        sa.Column("currency", sa.Text(), nullable=False, comment="ISO 4217"),
        sa.Column(
            "timestamp",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the transaction was made",
        ),
        sa.Column(
            "merchant", sa.Text(), nullable=True, comment="Null where the supplier names none"
        ),
        sa.Column(
            "operation_type",
            sa.Text(),
            nullable=False,
            comment="payment, direct_debit, transfer or refund",
        ),
        sa.Column("side", sa.Text(), nullable=False, comment="debit or credit"),
        sa.Column("mcc", sa.Text(), nullable=True, comment="Merchant category code, ISO 18245"),
        sa.Column(
            "content_hash",
            sa.LargeBinary(),
            nullable=False,
            comment="BLAKE2b of all columns above but the id: tells duplicates from conflicts",
        ),
        sa.Column(
            "entry",
            sa.BigInteger(),
            nullable=False,
            comment="Origin: the ledger entry, which names run, source and partition,",
        ),
        sa.Column(
            "position", sa.BigInteger(), nullable=False, comment="and the position in its range"
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When it was committed",
        ),
        sa.CheckConstraint("amount >= 0", name="transactions_amount"),
        sa.CheckConstraint("octet_length(content_hash) = 16", name="transactions_content_hash"),
        sa.PrimaryKeyConstraint("transaction_id", name="transactions_pkey"),
        comment="Every transaction that was classified, once",
    )
    op.create_index("transactions_number", "transactions", ["number"], unique=False)
    for name, (comment, query) in _VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")
        op.execute(f"COMMENT ON VIEW {name} IS '{comment}'")
