"""The only place where bytes become frames and frames become bytes."""
