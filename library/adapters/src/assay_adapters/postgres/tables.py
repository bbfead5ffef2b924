"""The tables, as the code sees them; the migrations make them."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata: Final = MetaData()

# Keys sort by code point as polars sorts them, whatever the database's collation: COPY in this
# order is quicker, and two commits take their locks in the same order.
KEY: Final = Text(collation="C")


def _text(name: str, comment: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null, comment=comment)


def _key(name: str, comment: str, *, null: bool = False) -> Column[str]:
    return Column(name, KEY, nullable=null, comment=comment)


def _number(name: str, comment: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, comment=comment)


def _moment(name: str, comment: str) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=True, comment=comment)


def _now(name: str, comment: str) -> Column[object]:
    return Column(
        name, DateTime(timezone=True), nullable=False, server_default=func.now(), comment=comment
    )


transactions: Final = Table(
    "transactions",
    metadata,
    _key("transaction_id", "Given by the supplier, or derived from the record's content"),
    _number("number", "What predictions name it by: ascends with the commits, see entry"),
    _text("description", "As the supplier wrote it"),
    Column("amount", Numeric(18, 2), nullable=False, comment="A magnitude; see side"),
    _text("currency", "ISO 4217"),
    Column(
        "timestamp",
        DateTime(timezone=True),
        nullable=False,
        comment="When the transaction was made",
    ),
    _text("merchant", "Null where the supplier names none", null=True),
    _text("operation_type", "payment, direct_debit, transfer or refund"),
    _text("side", "debit or credit"),
    _text("mcc", "Merchant category code, ISO 18245", null=True),
    Column(
        "content_hash",
        LargeBinary,
        nullable=False,
        comment="BLAKE2b of all columns above but the id: tells duplicates from conflicts",
    ),
    _number("entry", "Origin: the ledger entry, which names run, source and partition,"),
    _number("position", "and the position in its range"),
    _now("created_at", "When it was committed"),
    PrimaryKeyConstraint("transaction_id", name="transactions_pkey"),
    CheckConstraint("amount >= 0", name="transactions_amount"),
    CheckConstraint("octet_length(content_hash) = 16", name="transactions_content_hash"),
    # No number comes twice, since no ledger entry does.
    Index("transactions_number", "number"),
    comment="Every transaction that was classified, once",
)

predictions: Final = Table(
    "predictions",
    metadata,
    _number("number", "The transaction that it is about"),
    _key("model_name", "The model that made it"),
    _key("model_version", "and its version"),
    _text("category", "Of the model's taxonomy"),
    Column("confidence", Numeric(5, 4), nullable=False, comment="Probability in [0, 1]"),
    Column("needs_review", Boolean, nullable=False, comment="Whether the model is unsure"),
    _text("feature_hash", "Of what the model saw, where it says so", null=True),
    _number("entry", "The ledger entry that it was committed with, which names the run"),
    _text("processing_type", "The kind of that run: batch, stream, …"),
    _now("created_at", "When it was committed"),
    PrimaryKeyConstraint("number", "model_name", "model_version", name="predictions_pkey"),
    CheckConstraint("confidence BETWEEN 0 AND 1", name="predictions_confidence"),
    # What people look at is a small part; the operators are those of beginnings (LIKE 'abc%').
    Index(
        "predictions_review",
        "feature_hash",
        postgresql_ops={"feature_hash": "text_pattern_ops"},
        postgresql_where=text("needs_review"),
    ),
    comment="What each model said of each transaction",
)

runs: Final = Table(
    "runs",
    metadata,
    _key("run_id", "Its name"),
    _text("kind", "batch, stream, redrive, …"),
    _text("source", "What it reads"),
    _text("host", "The machine that it runs on"),
    _text("version", "The version of Assay"),
    _text("status_url", "Where it tells its health and metrics while it runs", null=True),
    _now("started_at", "When it began"),
    _moment("ended_at", "When it ended; null while it runs, or where it was killed"),
    _text("status", "How it ended; null until it has", null=True),
    Column(
        "summary", JSONB, nullable=True, comment="What it printed last; null until it has ended"
    ),
    PrimaryKeyConstraint("run_id", name="runs_pkey"),
    comment="Every execution of a service",
)

# Drawn before the rows are written, which carry it.
ledger_entry: Final = Sequence("ledger_entry", metadata=metadata)

ledger: Final = Table(
    "ledger",
    metadata,
    _number("entry", "Its number; transactions and predictions carry it"),
    _key("source", "The range's source"),
    _key("partition", "its partition"),
    _number("first", "Its first position"),
    _number("next", "The position after its last"),
    _number("read", "Records in it: classified + rejected + duplicate"),
    _number("classified", "Of these, kept as transaction and prediction"),
    _number("rejected", "Of these, kept as dead letter"),
    _number("duplicate", "Of these, known already with the same content"),
    _number("needs_review", "Of the classified ones, those that the model is unsure of"),
    _key("run_id", "The run that committed it"),
    Column(
        "accepts_rejects",
        Boolean,
        nullable=False,
        comment="Whether the run's reject limit was raised; its rejects do not count later",
    ),
    _text("end_state", "finished or abandoned on a partition's last range", null=True),
    _key(
        "predictions",
        "The source that its classified records are read from, where they were put on a topic;"
        " null where they are rows",
        null=True,
    ),
    _now("committed_at", "When it was committed"),
    _moment("copied_at", "When it was copied from a topic; null where it was committed here"),
    PrimaryKeyConstraint("source", "partition", "first", name="ledger_pkey"),
    UniqueConstraint("entry", name="ledger_entry_key"),
    CheckConstraint("read = classified + rejected + duplicate", name="ledger_balance"),
    CheckConstraint(
        "classified >= 0 AND rejected >= 0 AND duplicate >= 0"
        " AND needs_review BETWEEN 0 AND classified",
        name="ledger_counts",
    ),
    # Only what finishes a partition may be empty: its entries begin at different positions.
    CheckConstraint(
        "first >= 0 AND read <= next - first"
        " AND (first < next OR end_state IS NOT DISTINCT FROM 'finished')",
        name="ledger_range",
    ),
    CheckConstraint("end_state IN ('finished', 'abandoned')", name="ledger_end_state"),
    Index("ledger_recent", "source", text("entry DESC")),
    Index("ledger_predictions", "predictions", postgresql_where=text("predictions IS NOT NULL")),
    comment="One entry per committed range: the books",
)

positions: Final = Table(
    "positions",
    metadata,
    _key("source", "The partition's source"),
    _key("partition", "its name"),
    _number("next", "The first position that is not committed yet"),
    _text("end_state", "finished: never read again; abandoned: if it is back", null=True),
    _text("numbering", "What its positions count, where that may change", null=True),
    _key("run_id", "The run that moved it last"),
    _now("updated_at", "When it was moved last"),
    PrimaryKeyConstraint("source", "partition", name="positions_pkey"),
    CheckConstraint("end_state IN ('finished', 'abandoned')", name="positions_end_state"),
    comment="Where reading of each partition continues",
)

copies: Final = Table(
    "copies",
    metadata,
    _key("topic", "A topic of books, its"),
    _key("partition", "partition,"),
    _number("next", "and the first offset of it that is not copied yet"),
    _text("numbering", "The topic's id", null=True),
    PrimaryKeyConstraint("topic", "partition", name="copies_pkey"),
    comment="How far the books that classifiers keep on topics are copied into these tables",
)

dead_letters: Final = Table(
    "dead_letters",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False, comment="A short name"),
    _key("source", "Origin: source,"),
    _key("partition", "partition"),
    _number("position", "and position"),
    Column("key", LargeBinary, nullable=True, comment="The message's own key"),
    Column("raw", LargeBinary, nullable=True, comment="The record's bytes; beyond 1 MiB its head"),
    _number("length", "Bytes of the whole record"),
    Column("sha256", LargeBinary, nullable=True, comment="Of the whole record where raw is cut"),
    Column("header", LargeBinary, nullable=True, comment="The file's raw header record"),
    _text("transaction_id", "As far as it is known", null=True),
    _text("stage", "decode, validate, classify or commit"),
    _text("code", "Why it was rejected"),
    _text("field", "The column at fault; null where it is the whole record", null=True),
    _text("message", "The same for people, without content", null=True),
    Column(
        "retriable", Boolean, nullable=False, comment="Whether the same bytes may succeed later"
    ),
    Column("attempt", SmallInteger, nullable=False, comment="How often it has been tried"),
    _text("model_version", "Of the model that rejected it", null=True),
    _key("run_id", "The run that committed it"),
    _key("destination", "Where relays publish it"),
    Column(
        "state",
        Text,
        nullable=False,
        server_default="open",
        comment="open, closed (it succeeded later) or discarded (by a person)",
    ),
    _key("claim", "The name under which a relay publishes it", null=True),
    _text("relay", "The relay that holds the claim", null=True),
    _moment("leased_until", "Until when other relays leave the claim alone"),
    _moment("published_at", "When it was published; null while it waits"),
    _text("place", "Where it was published", null=True),
    _now("created_at", "When it was committed"),
    _key("redrive", "The run of the redrive that took it last", null=True),
    Column("number", BigInteger, nullable=True, comment="and its number among those that it took"),
    _moment("tried_at", "When it was tried last in a redrive"),
    _key("import_run", "The run that imported it; null where it was rejected here", null=True),
    _key("topic_id", "Of its origin: the topic's id, where it is one that has an id", null=True),
    _key(
        "books",
        "What stands after the partition's name and # in that of its books: the accept-gap that"
        " put them aside, or group and topic's id where they are copies",
        null=True,
    ),
    PrimaryKeyConstraint("id", name="dead_letters_pkey"),
    CheckConstraint("state IN ('open', 'closed', 'discarded')", name="dead_letters_state"),
    # What was imported may be read, and rejected, here later.
    Index(
        "dead_letters_origin",
        "source",
        "partition",
        "position",
        "books",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("import_run IS NULL"),
    ),
    Index(
        "dead_letters_imported",
        "source",
        "partition",
        "position",
        "topic_id",
        "books",
        unique=True,
        postgresql_nulls_not_distinct=True,
        postgresql_where=text("import_run IS NOT NULL"),
    ),
    Index(
        "dead_letters_waiting",
        "destination",
        "claim",
        "source",
        "partition",
        "position",
        postgresql_where=text("published_at IS NULL"),
    ),
    Index("dead_letters_open", "code", postgresql_where=text("state = 'open'")),
    Index(
        "dead_letters_redrive",
        "redrive",
        "number",
        postgresql_where=text("redrive IS NOT NULL"),
    ),
    comment="Every record that was rejected, once",
)

# A claim is a row: given back, or swept once its lease is over, all its letters are free.
redrives: Final = Table(
    "redrives",
    metadata,
    _key("run_id", "The run"),
    Column("lease", Interval, nullable=False, comment="How long it is left alone by others"),
    Column(
        "leased_until",
        DateTime(timezone=True),
        nullable=False,
        comment="Until when; each commit begins the lease anew",
    ),
    _text("by", "Who has asked for it"),
    Column("edits", JSONB, nullable=False, comment="What stands in some columns of every record"),
    PrimaryKeyConstraint("run_id", name="redrives_pkey"),
    comment="Redrives that hold dead letters just now",
)

dead_letter_actions: Final = Table(
    "dead_letter_actions",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False, comment="In their order"),
    _number("letter", "The dead letter"),
    _text("action", "closed, failed (again), discarded or imported"),
    _now("at", "When"),
    _key("run_id", "In which run; null where a person has discarded it", null=True),
    _text("by", "Who has asked for it"),
    _text("code", "Why the letter was rejected until then"),
    _text("reason", "The person's own words", null=True),
    Column(
        "edits",
        JSONB(none_as_null=True),
        nullable=True,
        comment="What a redrive put in place of some columns",
    ),
    PrimaryKeyConstraint("id", name="dead_letter_actions_pkey"),
    CheckConstraint(
        "action IN ('closed', 'failed', 'discarded', 'imported')",
        name="dead_letter_actions_action",
    ),
    Index("dead_letter_actions_letter", "letter"),
    comment="What was done with dead letters after they were rejected",
)

corrections: Final = Table(
    "corrections",
    metadata,
    Column("id", BigInteger, Identity(always=True), nullable=False, comment="In their order"),
    _text("feature_hash", "All transactions whose prediction has it are meant,", null=True),
    _key("transaction_id", "or this one alone; the latest row of either counts", null=True),
    _key(
        "example",
        "The transaction that was looked at; its other predictions tell what"
        " other versions of the model call the descriptor",
    ),
    _text("description", "What the example says, as the supplier wrote it"),
    _text("merchant", "The same of its merchant", null=True),
    _text("previous", "The category that stood until then", null=True),
    _text("category", "The right one; null where the correction is withdrawn", null=True),
    _text("by", "Who says so"),
    _text("reason", "In their own words", null=True),
    _now("at", "When"),
    PrimaryKeyConstraint("id", name="corrections_pkey"),
    CheckConstraint("num_nonnulls(feature_hash, transaction_id) = 1", name="corrections_subject"),
    Index("corrections_feature_hash", "feature_hash", "id"),
    Index("corrections_transaction", "transaction_id", "id"),
    comment="What people say of predictions; rows are added only",
)
