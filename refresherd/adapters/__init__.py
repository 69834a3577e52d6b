"""Adapters to everything outside the core, one package each; none imports another."""
