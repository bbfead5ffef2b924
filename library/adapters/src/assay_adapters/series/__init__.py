"""Counts and sums by minute."""
