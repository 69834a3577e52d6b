"""The API socket: tokens and status over HTTP, for whom the kernel says may have them."""

from refresherd.adapters.api.listener import ApiListener
from refresherd.adapters.api.service import service

__all__ = ["ApiListener", "service"]
