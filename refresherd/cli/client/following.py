"""An app's tokens as they come, however often the daemon is restarted meanwhile."""

import json
from collections.abc import Callable, Iterator

from refresherd.cli.client.failures import UNEXPECTED, NoDaemon, NotNow, TimedOut, Unintelligible

FIRST_DELAY = 0.2
LONGEST_DELAY = 5.0
"""Seconds between attempts to reach a daemon that was there: they double up to this."""

THE_STREAM_ENDED = "the daemon closed the connection"


def follow(
    tokens: Callable[[], Iterator[bytes]],
    notice: Callable[[str], None],
    sleep: Callable[[float], None],
) -> Iterator[bytes]:
    """Yield a line of JSON for the current token and each new one, without an end.

    `tokens` opens the daemon's stream of them. `notice` is told, once each time, that the
    daemon is away. Raises a CommandError where it was never there, and where it refuses.
    """
    shown = None
    met = False
    delay = FIRST_DELAY
    while True:
        trouble = THE_STREAM_ENDED
        try:
            for line in tokens():
                met, delay = True, FIRST_DELAY
                identity = _identity(line)
                if identity != shown:
                    shown = identity
                    yield line
            met = True
        except (NoDaemon, TimedOut) as error:
            if not met:
                raise
            trouble = str(error)
        except NotNow as error:
            met = True
            trouble = str(error)
        if delay == FIRST_DELAY:
            notice(f"{trouble}; trying again")
        sleep(delay)
        delay = min(2 * delay, LONGEST_DELAY)


def _identity(line: bytes) -> tuple[str, str]:
    """Return what tells a token from the one before: keeping it alive moves its expiry only."""
    try:
        token = json.loads(line)
        return str(token["access_token"]), str(token["expires_at"])
    except UNEXPECTED as error:
        raise Unintelligible("the daemon sent a line that is no token") from error
