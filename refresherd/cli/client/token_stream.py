"""An app's tokens as they are issued, across restarts of the daemon."""

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from refresherd.cli.client.messages import MALFORMED
from refresherd.cli.errors import TRANSIENT, InvalidResponse, Unavailable

MIN_DELAY = 0.2
MAX_DELAY = 5.0
"""Seconds between attempts to reconnect: they double up to this."""

RETRY = 1.0
"""Seconds until the next request if the daemon went away just after it announced a token."""

TOKEN = "FORTANIX_ACCESS_TOKEN"  # noqa: S105  # the variable's name

LINE = rb"(FORTANIX_[A-Z0-9_]+)=([^\x00]*)"
"""No other variables: whatever answers on a socket must not set a program's LD_PRELOAD."""

Variables = Mapping[str, str]


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
        except TRANSIENT as error:
            if not connected and not isinstance(error, Unavailable):
                raise
            connected, cause = True, str(error)
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


def seconds_left(line: bytes) -> float:
    """Return how long the token of a line is valid from now on. Raises InvalidResponse."""
    try:
        return float(json.loads(line)["expires_in"])
    except MALFORMED as error:
        raise InvalidResponse("the daemon sent a token without `expires_in`") from error


def parse_env(text: bytes) -> Variables:
    """Return the variables of the `env` format. Raises InvalidResponse at any deviation from it."""
    *lines, rest = text.split(b"\n")
    variables: dict[str, str] = {}
    for line in lines:
        match = re.fullmatch(LINE, line)
        if match is None or match[1].decode() in variables:
            raise InvalidResponse("the daemon's `env` format has an invalid or repeated line")
        variables[match[1].decode()] = os.fsdecode(match[2])
    if rest or not variables.get(TOKEN):
        raise InvalidResponse("the daemon's `env` format is incomplete")
    return variables


def new_variables(
    announcements: Iterable[object],
    fetch: Callable[[], Variables],
    current: Variables,
    sleep: Callable[[float], None],
) -> Iterator[Variables]:
    """Yield what `fetch` returns after each announcement, if its token differs from the last."""
    token = current[TOKEN]
    for _ in announcements:
        variables = None
        while variables is None:
            try:
                variables = fetch()
            except TRANSIENT:
                sleep(RETRY)
        if variables[TOKEN] != token:
            token = variables[TOKEN]
            yield variables
