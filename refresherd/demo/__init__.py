"""The demo: an emulated DSM, the daemon as it runs in production, and a live view of both.

The view knows of the daemon only what its API socket tells any client.
"""

from refresherd.demo.play import Settings, play
from refresherd.demo.screen import view_on
from refresherd.demo.status import summary

__all__ = ["Settings", "play", "summary", "view_on"]
