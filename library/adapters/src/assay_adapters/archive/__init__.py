"""Parquet files by date."""
