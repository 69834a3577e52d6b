"""Counts logins by key, so that no credential is ever burnt."""

from refresherd.ledger.ledger import Ledger

__all__ = ["Ledger"]
