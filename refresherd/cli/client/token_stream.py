"""An app's stream of tokens that survives restarts of the daemon."""

import json
from collections.abc import Callable, Iterator

from refresherd.cli.client.messages import MALFORMED
from refresherd.cli.errors import InvalidResponse, NoDaemon, TimedOut, Unavailable

MIN_DELAY = 0.2
MAX_DELAY = 5.0
"""Seconds between attempts to reconnect: they double up to this."""


def follow_tokens(
    connect: Callable[[], Iterator[bytes]],
    notify: Callable[[str], None],
    sleep: Callable[[float], None],
) -> Iterator[bytes]:
    """Yield a line of JSON for the current token and each new one, and reconnect for ever.

    `connect` opens the daemon's stream; `notify` gets one message each time the daemon goes away.
    Raises a CommandError if the daemon was never there, or refuses.
    """
    last = None
    connected = False
    delay = MIN_DELAY
    while True:
        cause = "the daemon closed the connection"
        try:
            for line in connect():
                connected, delay = True, MIN_DELAY
                identity = _identity(line)
                if identity != last:
                    last = identity
                    yield line
            connected = True
        except (NoDaemon, TimedOut) as error:
            if not connected:
                raise
            cause = str(error)
        except Unavailable as error:
            connected = True
            cause = str(error)
        if delay == MIN_DELAY:
            notify(f"{cause}; trying again")
        sleep(delay)
        delay = min(2 * delay, MAX_DELAY)


def _identity(line: bytes) -> tuple[str, str]:
    """Return token and expiry: a keep-alive moves the expiry only, and is news as well."""
    try:
        token = json.loads(line)
        return str(token["access_token"]), str(token["expires_at"])
    except MALFORMED as error:
        raise InvalidResponse("the daemon sent a line that is not a token") from error
