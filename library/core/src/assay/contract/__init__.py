"""Contracts: ODCS documents that say how a supplier's data becomes the canonical frame."""
