"""What is done after each new token, as configured: implements Hook."""

from refresherd.adapters.hooks.kinds import hooks

__all__ = ["hooks"]
