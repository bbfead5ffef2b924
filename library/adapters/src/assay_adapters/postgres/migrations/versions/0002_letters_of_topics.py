# noqa: INP001 - Alembic loads it by its path
"""Letters know their topic's id, and keep their origin when its books are put aside."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_COLUMNS = (
    ("topic_id", "Of its origin: the topic's id, where it is one that has an id"),
    ("retired", "The accept-gap that put its partition's books aside"),
)
# Until now `accept-gap` named them anew, those included that were imported. So one record could be
# imported again after each, and `retired` tells such letters apart.
_KEPT = """
    UPDATE dead_letters
    SET topic_id = positions.numbering,
        partition = split_part(dead_letters.partition, '#', 1),
        retired = nullif(split_part(dead_letters.partition, '#', 2), '')
    FROM positions
    WHERE starts_with(dead_letters.source, 'kafka/')
        AND positions.source = dead_letters.source
        AND positions.partition = dead_letters.partition
        AND (import_run IS NULL OR strpos(dead_letters.partition, '#') > 0)
"""
_INDEXES = (
    ("dead_letters_origin", ["retired"], "import_run IS NULL"),
    ("dead_letters_imported", ["topic_id", "retired"], "import_run IS NOT NULL"),
)


def upgrade() -> None:
    """Adds the columns, fills them, and makes the indexes of origins anew."""
    for name, comment in _COLUMNS:
        column = sa.Column(name, sa.Text(collation="C"), nullable=True, comment=comment)
        op.add_column("dead_letters", column)
    for name, _, _ in _INDEXES:
        op.drop_index(name, "dead_letters")
    op.execute(_KEPT)
    for name, columns, where in _INDEXES:
        op.create_index(
            name,
            "dead_letters",
            ["source", "partition", "position", *columns],
            unique=True,
            postgresql_nulls_not_distinct=True,
            postgresql_where=sa.text(where),
        )
