"""The machine's monotonic clock."""
