"""Linux through the standard library."""
