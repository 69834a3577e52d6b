"""DSM over HTTP: the SessionClient of each app."""

from refresherd.adapters.dsm import without_authorities  # noqa: F401  # it has to come first

# isort: split
from refresherd.adapters.dsm.client import Connections

__all__ = ["Connections"]
