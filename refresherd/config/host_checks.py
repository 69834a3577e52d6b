"""All checks that look at this host, within a time limit.

A filesystem or a directory service may hang. The daemon then starts or reloads without these
checks, and the apps that need what hangs notice it by themselves.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import chain
from threading import Thread
from typing import TypeVar

from refresherd.config.accounts import check_accounts
from refresherd.config.collisions import Collisions, ReadNames
from refresherd.config.environment import check_environment
from refresherd.config.findings import Finding, Kind
from refresherd.config.input_files import check_input_files
from refresherd.config.output_paths import check_output_paths
from refresherd.config.parse import Settings
from refresherd.config.trust import check_trust
from refresherd.config.web_file import WEB, WebFile, read_web_file
from refresherd.domain.durations import in_seconds
from refresherd.host.path_identity import Resolver

T = TypeVar("T")

TIME_LIMIT = 10.0
"""Seconds that the checks may take. Those of ten thousand apps take two."""

CHECKS = (check_environment, check_input_files, check_output_paths)
"""Checks that take only the settings."""

PATH_CHECKS = (check_trust, check_accounts)
"""Checks that follow paths, and share the resolver that remembers them."""


@dataclass(frozen=True, slots=True)
class HostReport:
    """What the checks of this host have found."""

    findings: tuple[Finding, ...] = ()
    read: ReadNames | None = None
    """The names that no output may take, None if they are not known."""
    web: WebFile | None = None
    """What the web configuration says, None if there is none."""


def check_host(settings: Settings, time_limit: float = TIME_LIMIT) -> HostReport:
    """Return what is wrong with settings on this host, or that it takes too long to tell."""
    found = within(time_limit, lambda: _check(settings))
    if found is not None:
        return found
    message = (
        "the files and accounts that it names are not checked: that took longer than "
        f"{in_seconds(time_limit)}; is a filesystem or a directory service hanging?"
    )
    return HostReport((Finding((), message, Kind.TROUBLE),))


def within(seconds: float, call: Callable[[], T]) -> T | None:
    """Return what a call returns, None if it takes longer: a thread then continues with it.

    Raises what the call raises.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001  # for the caller, whatever it is
            future.set_exception(error)

    try:
        # A daemon thread, so that the process can end before the call does.
        Thread(target=run, daemon=True).start()
    except RuntimeError:  # this process may have no more threads
        run()
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise
        return None


def _check(settings: Settings) -> HostReport:
    resolver = Resolver()
    web = _web(settings)
    inputs = () if web is None else tuple(((*WEB, *key), file) for key, file in web.inputs.items())
    with_web = replace(settings, values=(*settings.values, *inputs))
    collisions = Collisions(with_web, resolver)
    findings = chain(
        collisions.findings(),
        *(check(settings) for check in CHECKS),
        *(check(with_web, resolver) for check in PATH_CHECKS),
        ()
        if web is None
        else (finding._replace(path=(*WEB, *finding.path)) for finding in web.findings),
    )
    return HostReport(tuple(findings), collisions.read, web)


def _web(settings: Settings) -> WebFile | None:
    path = settings.root.http.web_config_file.or_none
    return None if path is None else read_web_file(path)
