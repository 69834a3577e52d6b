"""What the service manager says in the environment of a process that it started."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

FIRST_PASSED = 3
"""SD_LISTEN_FDS_START of sd_listen_fds(3)."""

MOST_PASSED = 65536
"""More descriptors than a process can have; a larger number is nonsense."""

MICROSECONDS = 1_000_000

OWN = frozenset(
    (
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_PID",
        "LISTEN_PIDFDID",
        "LISTEN_FDS",
        "LISTEN_FDNAMES",
        "FDSTORE",
    )
)
"""Variables that are for this process alone. A child that has them could speak in its name."""


@dataclass(frozen=True, slots=True)
class Descriptor:
    """An open descriptor that was passed on, and the name that it has there."""

    fd: int
    name: str


@dataclass(frozen=True, slots=True)
class Manager:
    """What a service is told. All is empty without a service manager.

    `watchdog` is within how many seconds it wants to hear that all is well, None for never.
    """

    notify_socket: str = ""
    watchdog: float | None = None
    passed: tuple[Descriptor, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> "Manager":
        """Return what `environ` says to the process `pid`.

        What it says to another process is ignored: a shell in between has passed it on.
        """
        return cls(
            notify_socket=environ.get("NOTIFY_SOCKET", ""),
            watchdog=_watchdog(environ, pid),
            passed=_passed(environ, pid),
        )


def without_own(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that children may see."""
    return {name: value for name, value in environ.items() if name not in OWN}


def keep_from_children(passed: tuple[Descriptor, ...]) -> None:
    """Have no program that is run here inherit what was passed on."""
    for one in passed:
        with suppress(OSError):  # a wrapper in between has closed it
            os.set_inheritable(one.fd, False)  # noqa: FBT003  # the function's only form


def _watchdog(environ: Mapping[str, str], pid: int) -> float | None:
    """Return the watchdog's interval: sd_watchdog_enabled(3)."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return _number(environ.get("WATCHDOG_USEC", "")) / MICROSECONDS or None


def _passed(environ: Mapping[str, str], pid: int) -> tuple[Descriptor, ...]:
    """Return the descriptors by sd_listen_fds_with_names(3); one without a name has ""."""
    if environ.get("LISTEN_PID") != str(pid):
        return ()
    count = min(_number(environ.get("LISTEN_FDS", "")), MOST_PASSED)
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (count - len(names))
    return tuple(Descriptor(FIRST_PASSED + index, name) for index, name in enumerate(names[:count]))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
