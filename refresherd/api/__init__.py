"""The API socket: tokens and status over HTTP, for whom the kernel says may have them."""

from refresherd.api.listener import ApiListener
from refresherd.api.service import service

__all__ = ["ApiListener", "service"]
