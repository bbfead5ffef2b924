"""What `poe demo` shows."""
