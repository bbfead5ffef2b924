"""Adapters around the core of Assay: PostgreSQL, S3, files, HTTP, metrics."""
