"""Names in the fd store: so short that those of all sessions reach the next run."""

import re
import string
from itertools import count

from refresherd.domain.errors import OutputError

SESSION = re.compile(r"s\.[0-9A-Za-z]{3}")

DIGITS = string.digits + string.ascii_letters

MOST = 20_000
"""So many sessions are stored. The next run gets all names in one variable, LISTEN_FDNAMES, and
execve(2) takes no variable of over 128 KiB: the daemon could not be started any more."""


class Names:
    """Finds names, each for one session at a time."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._numbers = count()

    @property
    def exhausted(self) -> bool:
        """Whether as many are taken as there may be."""
        return len(self._taken) >= MOST

    def free(self) -> str:
        """Return a name that stands for nothing yet. Raises OutputError where there is none."""
        if self.exhausted:
            raise OutputError(f"the service manager holds {MOST} sessions, and can pass on no more")
        while (name := _name(next(self._numbers))) in self._taken:
            pass
        return name

    def take(self, name: str) -> None:
        """Have this name stand for something."""
        self._taken.add(name)

    def release(self, name: str) -> None:
        """Have this name free again: what it stood for is gone."""
        self._taken.discard(name)


def is_session(name: str) -> bool:
    """Return whether something that was stored under this name is a session."""
    return SESSION.fullmatch(name) is not None


def _name(number: int) -> str:
    base = len(DIGITS)
    return "s." + "".join(DIGITS[number // base**place % base] for place in (2, 1, 0))
