"""Traces, by OpenTelemetry: nothing of it is imported unless it is asked for."""
