"""An app's tokens as variables for a program's environment, the first one and those that follow."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from refresherd.cli.child.env_format import TOKEN, variables
from refresherd.cli.client.daemon import Daemon
from refresherd.cli.client.failures import PASSING

AGAIN = 1.0
"""Seconds until the daemon is asked again, when it went away right after it told of a token."""

Variables = Mapping[str, str]


def current(daemon: Daemon, app: str, min_ttl: float, wait: float) -> Variables:
    """Return the current token's variables, waiting so many seconds for one that lives so long."""
    return variables(daemon.token(app, "env", min_ttl=min_ttl, wait=wait))


def renewed(
    message: Iterable[object],
    current: Callable[[], Variables],
    known: Variables,
    sleep: Callable[[float], None],
) -> Iterator[Variables]:
    """Yield the current variables each time that a token is told of which is not the known one."""
    token = known[TOKEN]
    for _ in message:
        found = _obtained(current, sleep)
        if found[TOKEN] != token:
            token = found[TOKEN]
            yield found


def _obtained(current: Callable[[], Variables], sleep: Callable[[float], None]) -> Variables:
    while True:
        try:
            return current()
        except PASSING:
            sleep(AGAIN)
