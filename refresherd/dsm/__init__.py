"""DSM over HTTP: implements SessionClient; an answer becomes a token or an error here."""

from refresherd.dsm.connections import Connections

__all__ = ["Connections"]
