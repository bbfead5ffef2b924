"""Objects in local folders."""
