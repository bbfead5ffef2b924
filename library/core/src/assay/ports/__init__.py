"""What the core asks of the outside: one Protocol a file, each with its guarantee."""
