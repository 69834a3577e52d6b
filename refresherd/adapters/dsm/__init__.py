"""DSM over HTTP: implements SessionClient; an answer becomes a token or an error here."""

from refresherd.adapters.dsm import without_authorities  # noqa: F401  # it has to come first

# isort: split
from refresherd.adapters.dsm.connections import Connections

__all__ = ["Connections"]
