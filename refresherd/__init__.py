"""refresherd keeps a live session for every configured Fortanix DSM app."""

__version__ = "0.1.0"
