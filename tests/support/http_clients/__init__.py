"""Clients in other languages, as a consumer would write them."""
