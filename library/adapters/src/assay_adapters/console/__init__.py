"""How commands speak to people and to the programs that start them."""
