"""PostgreSQL: where outcomes are committed, dead letters wait and the books can be proved."""
