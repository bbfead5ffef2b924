"""Port suites, and strategies built from the schema (extra `assay[testing]`)."""
