"""What a service says of itself over HTTP."""
