"""The API socket: tokens and status over HTTP, for clients that the kernel identifies."""

from refresherd.adapters.api.listener import ApiListener
from refresherd.adapters.api.service import Service

__all__ = ["ApiListener", "Service"]
