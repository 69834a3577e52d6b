"""What must hold between the values of a configuration, whatever the machine is like."""

import re
from collections.abc import Callable

from refresherd.config.collisions import shared_paths
from refresherd.config.document import AppDocument, Document
from refresherd.config.findings import Findings
from refresherd.config.lines import KeyPath
from refresherd.config.scalars import Duration, DurationOrNever
from refresherd.config.tables import APP_NAME, DsmTable, HookTable, RefreshTable
from refresherd.config.wording import quoted
from refresherd.domain.model import Method

Where = Callable[[str], KeyPath]
"""Tells where a key that may be inherited gets its value from."""

EARLIEST = 0.05
"""The earliest share of a lifetime at which a refresh may come."""

ROUNDING = 1e-9

SAFE_REJECTED_RETRY = Duration("29m")
"""The shortest wait that makes 50 logins in 24 hours at most."""


def check_rules(document: Document, faults: Findings) -> None:
    """Take note of every rule that the document breaks."""
    root = document.root
    _check_dsm(root.dsm, lambda key: ("dsm", key), faults)
    _check_refresh(root.refresh, lambda key: ("refresh", key), faults)
    _check_listen(document, faults)
    _check_names(document, faults)
    _check_endpoints(document, faults)
    for app in document.apps:
        if app.dsm is not root.dsm:
            _check_dsm(app.dsm, app.where, faults)
        if app.refresh is not root.refresh:
            _check_refresh(app.refresh, app.where, faults)
        _check_rejected_retry(app, faults)
        _check_renewal(app, faults)
        _check_outputs(app, faults)
        for index, hook in enumerate(app.own.hooks):
            _check_hook(hook, (*app.path, "hooks", index), faults)
    shared_paths(document, faults)


def _check_dsm(dsm: DsmTable, where: Where, faults: Findings) -> None:
    _at_least(dsm.timeout, "1ms", where("timeout"), faults)


def _check_refresh(refresh: RefreshTable, where: Where, faults: Findings) -> None:
    _at_least(refresh.retry_min, "100ms", where("retry_min"), faults)
    _at_least(refresh.session_check, "1s", where("session_check"), faults)
    if _sound(faults, where, "jitter", "at") and (
        refresh.jitter > refresh.at - EARLIEST + ROUNDING
    ):
        faults.add(
            _culprit(where, "jitter", "at"),
            f"at = {refresh.at} with jitter = {refresh.jitter} may refresh at the very start of "
            f"a lifetime; with that at, jitter is {round(refresh.at - EARLIEST, 6)} at most",
        )
    if _sound(faults, where, "retry_min", "retry_max") and (
        refresh.retry_min.seconds > refresh.retry_max.seconds
    ):
        faults.add(
            _culprit(where, "retry_min", "retry_max"),
            f"retry_min, {quoted(refresh.retry_min)}, is longer than retry_max, "
            f"{quoted(refresh.retry_max)}; write one no longer than the other",
        )


def _check_rejected_retry(app: AppDocument, faults: Findings) -> None:
    if not _sound(faults, app.where, "rejected_retry", "endpoint"):
        return
    short = app.refresh.rejected_retry.seconds < SAFE_REJECTED_RETRY.seconds
    if short and app.dsm.endpoint and not app.dsm.endpoint.loopback:
        faults.add(
            _culprit(app.where, "rejected_retry", "endpoint"),
            f"a rejected_retry of {quoted(app.refresh.rejected_retry)} burns credentials: DSM may "
            "reset an app's secret after 100 refused logins in 24 hours, and 50 are all that may "
            f"be made; write {quoted(SAFE_REJECTED_RETRY)} or more (less is for an endpoint on a "
            "loopback host)",
        )


def _check_renewal(app: AppDocument, faults: Findings) -> None:
    if app.own.token_file and app.refresh.renew is Method.AUTH:
        faults.add(
            app.where("renew"),
            '"auth" logs in anew, which a token_file cannot; write "reauth" or "keepalive"',
        )


def _check_listen(document: Document, faults: Findings) -> None:
    seen = set()
    for index, listen in enumerate(document.root.http.listen):
        path = ("http", "listen", index)
        if path in faults:
            continue
        if listen.address in seen:
            faults.add(path, f"{quoted(listen)} stands here twice; write each address once")
        seen.add(listen.address)


def _check_names(document: Document, faults: Findings) -> None:
    if not document.given.get("apps") and ("apps",) not in faults:
        faults.add(("apps",), "no apps; write a table for each, headed [apps.NAME]")
    for app in document.apps:
        if re.fullmatch(APP_NAME, app.name) is None:
            faults.add(
                app.path,
                f"{quoted(app.name)} is no name for an app; write up to 64 letters, digits, dots, "
                "dashes and underscores, a letter or digit first",
            )


def _check_endpoints(document: Document, faults: Findings) -> None:
    lacking = [
        app for app in document.apps if not app.dsm.endpoint and app.where("endpoint") not in faults
    ]
    if ("dsm",) in faults or not lacking:
        return
    if len(lacking) == len(document.apps):
        faults.add(
            ("dsm", "endpoint"),
            'missing; write the address of your DSM, such as "https://amer.smartkey.io"',
        )
        return
    for app in lacking:
        faults.add(
            (*app.path, "endpoint"),
            "missing; write the address of the app's DSM here, or one for all apps in [dsm]",
        )


def _check_outputs(app: AppDocument, faults: Findings) -> None:
    for key, output in app.outputs():
        path = (*key, "path")
        if not output.path and key not in faults and path not in faults:
            faults.add(path, "missing; write where consumers are to find the token")


def _check_hook(hook: HookTable, path: KeyPath, faults: Findings) -> None:
    _at_least(hook.timeout, "1ms", (*path, "timeout"), faults)
    if any((*path, key) in faults for key in ("command", "signal", "pid_file")):
        return
    if hook.command and (hook.signal or hook.pid_file):
        faults.add(path, "both a command and a signal; keep one, and write a hook for the other")
    elif not hook.command and not (hook.signal or hook.pid_file):
        faults.add(path, "nothing to do; write a command, or a signal and a pid_file")
    elif not hook.command and not (hook.signal and hook.pid_file):
        faults.add(path, "signal and pid_file belong together; write both")


def _at_least(
    duration: Duration | DurationOrNever, least: str, path: KeyPath, faults: Findings
) -> None:
    if duration.seconds is not None and duration.seconds < Duration(least).seconds:
        faults.add(path, f"{quoted(duration)} is too short; write {quoted(least)} or more")


def _sound(faults: Findings, where: Where, *keys: str) -> bool:
    return all(where(key) not in faults for key in keys)


def _culprit(where: Where, *keys: str) -> KeyPath:
    """Return the key to mend: one that stands under the app, where there is such a one."""
    paths = [where(key) for key in keys]
    return next((path for path in paths if path[0] == "apps"), paths[0])
