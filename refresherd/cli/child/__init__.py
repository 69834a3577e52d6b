"""Runs a program with a token in its environment, and keeps it running with the newest."""
