"""The demo: an emulated DSM, the daemon as it is run in production, and a view of both.

Of the whole package only this imports rich, and nothing here runs in the daemon.
"""

from refresherd.demo.picture import Picture
from refresherd.demo.play import play
from refresherd.demo.stage import Settings
from refresherd.demo.view import view_on
from refresherd.demo.wording import summary

__all__ = ["Picture", "Settings", "play", "summary", "view_on"]
