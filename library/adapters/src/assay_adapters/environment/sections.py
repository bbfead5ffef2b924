"""The sections of settings of the whole product.

All services may share one `.env`, so each must know the sections of the others.
"""

from typing import Final

SECTIONS: Final = frozenset({"api", "batch", "local", "log", "postgres", "s3", "server"})

OTHERS: Final = frozenset({"ASSAY_TEST_DATA"})
"""Variables that are no settings."""
