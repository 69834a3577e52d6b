"""An app's token as environment variables, the current one and those that follow."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from refresherd.cli.client.daemon import Daemon
from refresherd.cli.errors import TRANSIENT, InvalidResponse

TOKEN = "FORTANIX_ACCESS_TOKEN"  # noqa: S105  # the variable's name

LINE = rb"(FORTANIX_[A-Z0-9_]+)=([^\x00]*)"
"""No other variables: whatever answers on a socket must not set a program's LD_PRELOAD."""

RETRY = 1.0
"""Seconds until the next request if the daemon went away just after it announced a token."""

Variables = Mapping[str, str]


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


def current_variables(daemon: Daemon, app: str, min_ttl: float, wait: float) -> Variables:
    """Return the current token's variables, waiting up to `wait` s for one that lives `min_ttl`."""
    return parse_env(daemon.token(app, "env", min_ttl=min_ttl, wait=wait))


def new_variables(
    announcements: Iterable[object],
    fetch: Callable[[], Variables],
    current: Variables,
    sleep: Callable[[float], None],
) -> Iterator[Variables]:
    """Yield what `fetch` returns after each announcement, if its token differs from the last."""
    token = current[TOKEN]
    for _ in announcements:
        variables = _fetch_patiently(fetch, sleep)
        if variables[TOKEN] != token:
            token = variables[TOKEN]
            yield variables


def _fetch_patiently(fetch: Callable[[], Variables], sleep: Callable[[float], None]) -> Variables:
    while True:
        try:
            return fetch()
        except TRANSIENT:
            sleep(RETRY)
