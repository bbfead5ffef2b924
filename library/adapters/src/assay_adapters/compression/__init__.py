"""Compressed files, read as a stream."""
