"""How good counts and maps are, as pure functions. Every figure about maps carries the name of its protocol."""
