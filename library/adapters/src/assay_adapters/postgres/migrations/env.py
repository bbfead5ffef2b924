# noqa: INP001 - Alembic loads it by its path
"""How Alembic runs the migrations; `assay_adapters.postgres.migrate` calls it."""

from alembic import context

from assay_adapters.postgres.tables import metadata
from assay_adapters.postgres.version import VERSION_TABLE

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    on_version_apply=attributes["note"],
)
context.run_migrations()
