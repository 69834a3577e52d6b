"""The `refresherd` command: one module for each of its commands."""

from refresherd.cli.command_line import main

__all__ = ["main"]
