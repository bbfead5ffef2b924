"""The streaming services: producers, consumer, dead letters."""
