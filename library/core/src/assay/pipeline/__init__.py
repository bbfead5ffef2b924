"""The pump and what it is made of."""
