"""The model API over HTTP."""
