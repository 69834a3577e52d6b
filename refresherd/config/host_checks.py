"""All checks that look at this host, within a bound: a filesystem or a directory service may hang.

Then the daemon starts and reloads without them. Whatever hangs is trouble of the apps that need
it, and they notice it by themselves.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain
from threading import Thread
from typing import TypeVar

from refresherd.config.collisions import Collisions, ReadNames
from refresherd.config.credentials import check_environment
from refresherd.config.findings import Finding, Kind
from refresherd.config.input_files import check_input_files
from refresherd.config.output_paths import check_accounts, check_output_paths
from refresherd.config.parse import Settings
from refresherd.config.proxies import check_no_proxy
from refresherd.config.reach import check_reach
from refresherd.config.trust import check_trust
from refresherd.domain.durations import in_seconds
from refresherd.host.path_identity import Resolver

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""How long the checks may take. Those of ten thousand apps take two seconds."""

CHECKS = (check_environment, check_no_proxy, check_input_files, check_output_paths, check_accounts)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at this host has found."""

    findings: tuple[Finding, ...] = ()
    read: ReadNames | None = None
    """The names that no output may take, None if they are not known."""


def look(settings: Settings, patience: float = PATIENCE_SECONDS) -> Look:
    """Return what is wrong with settings on this host, or that it takes too long to tell."""
    found = within(patience, lambda: _look(settings))
    if found is not None:
        return found
    message = (
        "what this names on this host is not checked: it took longer than "
        f"{in_seconds(patience)}; is a filesystem or a directory service hanging?"
    )
    return Look((Finding((), message, Kind.TROUBLE),))


def within(seconds: float, call: Callable[[], T]) -> T | None:
    """Return what a call returns, None if it takes longer: then a thread goes on with it.

    Raises what the call raises.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # for the caller, whatever it is
            future.set_exception(error)

    try:
        # A daemon's thread, so that the process can end before the call does.
        Thread(target=run, daemon=True).start()
    except RuntimeError:  # this process may have no more threads
        run()
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise
        return None


def _look(settings: Settings) -> Look:
    resolver = Resolver()
    collisions = Collisions(settings, resolver)
    findings = chain(
        collisions.findings(),
        *(check(settings) for check in CHECKS),
        check_trust(settings, resolver),
        check_reach(settings, resolver),
    )
    return Look(tuple(findings), collisions.read)
