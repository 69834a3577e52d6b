"""Rules between the values of a configuration, whatever the machine is like."""

import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from refresherd.config.app_settings import APP_NAME, HookTable
from refresherd.config.configuration import Shutdown
from refresherd.config.findings import Finding, KeyPath, dotted, quoted
from refresherd.config.parse import AppSettings, Settings
from refresherd.config.scalars import Duration, DurationOrNever, Location
from refresherd.config.settings import RefreshTable
from refresherd.domain.model import Method

Where = Callable[[str], KeyPath]
"""Returns where the value of a key that may be inherited is written."""

EARLIEST = 0.05
"""The earliest share of a lifetime at which a refresh may come."""

ROUNDING = 1e-9

SAFE_REJECTED_RETRY = Duration("29m")
"""The shortest wait that keeps refused logins at 50 or fewer in 24 hours."""

OPEN_TO_ALL = stat.S_IROTH | stat.S_IWOTH


def check_rules(settings: Settings) -> Iterator[Finding]:
    """Yield every rule that the settings break."""
    root = settings.root
    yield from _at_least(root.dsm.timeout, "1ms", ("dsm", "timeout"))
    yield from _check_refresh(settings, root.refresh, lambda key: ("refresh", key))
    yield from _check_listen(settings)
    yield from _check_names(settings)
    yield from _check_endpoints(settings)
    for app in settings.apps:
        if app.dsm is not root.dsm:
            yield from _at_least(app.dsm.timeout, "1ms", app.where("timeout"))
        if app.refresh is not root.refresh:
            yield from _check_refresh(settings, app.refresh, app.where)
        yield from _check_rejected_retry(settings, app)
        yield from _check_renewal(app)
        yield from _check_outputs(settings, app)
        for index, hook in enumerate(app.own.hooks):
            yield from _check_hook(settings, hook, (*app.path, "hooks", index))
    yield from _check_collisions(settings)


def check_intentions(settings: Settings) -> Iterator[Finding]:
    """Yield what is allowed but may not be meant: warnings."""
    terminate = settings.root.shutdown is Shutdown.TERMINATE
    if terminate and any(app.own.token_file for app in settings.apps):
        yield Finding(
            ("shutdown",),
            '"terminate" has no effect on apps with a token_file: their last session is kept, '
            "because they need it to continue after a restart",
        )
    for app in settings.apps:
        for path, output in app.outputs():
            if output.mode.bits & OPEN_TO_ALL:
                yield Finding(
                    (*path, "mode"),
                    f"{quoted(output.mode)} gives every user of this host access to the token; "
                    'set a group and "0640" to limit it',
                )


def _check_refresh(settings: Settings, refresh: RefreshTable, where: Where) -> Iterator[Finding]:
    yield from _at_least(refresh.retry_min, "100ms", where("retry_min"))
    yield from _at_least(refresh.session_check, "1s", where("session_check"))
    largest_jitter = refresh.at - EARLIEST
    comparable = settings.valid(where("jitter"), where("at"))
    if comparable and refresh.jitter > largest_jitter + ROUNDING:
        yield Finding(
            _to_correct(where, "jitter", "at"),
            f"at = {refresh.at} with jitter = {refresh.jitter} may refresh a token as soon as it "
            f"is issued; for this at, write a jitter of {round(largest_jitter, 6)} or less",
        )
    comparable = settings.valid(where("retry_min"), where("retry_max"))
    if comparable and refresh.retry_min.seconds > refresh.retry_max.seconds:
        yield Finding(
            _to_correct(where, "retry_min", "retry_max"),
            f"retry_min ({quoted(refresh.retry_min)}) is longer than retry_max "
            f"({quoted(refresh.retry_max)}); lower retry_min or raise retry_max",
        )


def _check_rejected_retry(settings: Settings, app: AppSettings) -> Iterator[Finding]:
    if not settings.valid(app.where("rejected_retry"), app.where("endpoint")):
        return
    too_short = app.refresh.rejected_retry.seconds < SAFE_REJECTED_RETRY.seconds
    if too_short and app.dsm.endpoint and not app.dsm.endpoint.loopback:
        yield Finding(
            _to_correct(app.where, "rejected_retry", "endpoint"),
            f"a rejected_retry of {quoted(app.refresh.rejected_retry)} endangers the credential: "
            "DSM may reset an app's secret after 100 refused logins in 24 hours, and at most 50 "
            f"are made; write {quoted(SAFE_REJECTED_RETRY)} or more (less is accepted for an "
            "endpoint on a loopback host only)",
        )


def _check_renewal(app: AppSettings) -> Iterator[Finding]:
    if app.own.token_file and app.refresh.renew is Method.AUTH:
        yield Finding(
            app.where("renew"),
            '"auth" logs in each time, which a token_file cannot do; write "reauth" or "keepalive"',
        )


def _check_listen(settings: Settings) -> Iterator[Finding]:
    seen = set()
    for index, listen in enumerate(settings.root.http.listen):
        path = ("http", "listen", index)
        if not settings.valid(path):
            continue
        if listen.address in seen:
            yield Finding(path, f"{quoted(listen)} is listed twice; remove one of them")
        seen.add(listen.address)


def _check_names(settings: Settings) -> Iterator[Finding]:
    if not settings.written.get("apps") and settings.valid(("apps",)):
        yield Finding(
            ("apps",), "no apps are configured; write a table headed [apps.NAME] for each app"
        )
    for app in settings.apps:
        if re.fullmatch(APP_NAME, app.name) is None:
            yield Finding(
                app.path,
                f"{quoted(app.name)} is not a valid app name; write up to 64 letters, digits, "
                "dots, dashes and underscores, beginning with a letter or a digit",
            )


def _check_endpoints(settings: Settings) -> Iterator[Finding]:
    lacking = [
        app
        for app in settings.apps
        if not app.dsm.endpoint and settings.valid(app.where("endpoint"), ("dsm",))
    ]
    if lacking and len(lacking) == len(settings.apps):
        yield Finding(
            ("dsm", "endpoint"),
            'missing; write the address of your DSM, such as "https://amer.smartkey.io"',
        )
        return
    for app in lacking:
        yield Finding(
            (*app.path, "endpoint"),
            "missing; write the address of the app's DSM here, or one for all apps in [dsm]",
        )


def _check_outputs(settings: Settings, app: AppSettings) -> Iterator[Finding]:
    for output_path, output in app.outputs():
        path = (*output_path, "path")
        if not output.path and settings.valid(output_path, path):
            yield Finding(path, "missing; write the path at which consumers find the token")


def _check_hook(settings: Settings, hook: HookTable, path: KeyPath) -> Iterator[Finding]:
    yield from _at_least(hook.timeout, "1ms", (*path, "timeout"))
    if not settings.valid(*((*path, key) for key in ("command", "signal", "pid_file"))):
        return
    if hook.command and (hook.signal or hook.pid_file):
        message = "a hook has either a command or a signal; write two hooks for both"
    elif not hook.command and not (hook.signal or hook.pid_file):
        message = "the hook does nothing; write a command, or a signal and a pid_file"
    elif not hook.command and not (hook.signal and hook.pid_file):
        message = "signal and pid_file need each other; write both"
    else:
        return
    yield Finding(path, message)


def _check_collisions(settings: Settings) -> Iterator[Finding]:
    """Yield every output whose path is an earlier output's, or that of a file that is read."""
    read = {location.path: dotted(key) for key, location in _inputs(settings) if location}
    read[settings.file] = "this configuration"
    written: dict[Path, KeyPath] = {}
    for key, location in _outputs(settings):
        if not location:
            continue
        path = location.path
        if path in written:
            yield Finding(
                key,
                f"{dotted(written[path])} has the same path; write another path",
            )
        elif path in read:
            yield Finding(
                key,
                f"{read[path]} is read from this path and would be overwritten; write another path",
            )
        written.setdefault(path, key)


def _outputs(settings: Settings) -> Iterator[tuple[KeyPath, Location]]:
    yield ("api", "path"), settings.root.api.path
    for app in settings.apps:
        for path, output in app.outputs():
            yield (*path, "path"), output.path


def _inputs(settings: Settings) -> Iterator[tuple[KeyPath, Location]]:
    yield ("dsm", "ca_file"), settings.root.dsm.ca_file
    yield ("http", "web_config_file"), settings.root.http.web_config_file
    for app in settings.apps:
        yield app.where("ca_file"), app.dsm.ca_file
        for key in ("api_key_file", "token_file", "cert_file", "key_file"):
            yield (*app.path, key), getattr(app.own, key)
        for index, hook in enumerate(app.own.hooks):
            yield (*app.path, "hooks", index, "pid_file"), hook.pid_file


def _at_least(duration: Duration | DurationOrNever, least: str, path: KeyPath) -> Iterator[Finding]:
    if duration.seconds is not None and duration.seconds < Duration(least).seconds:
        yield Finding(path, f"{quoted(duration)} is too short; write {quoted(least)} or more")


def _to_correct(where: Where, *keys: str) -> KeyPath:
    """Return which of several keys to correct: one under the app itself, if there is one."""
    paths = [where(key) for key in keys]
    return next((path for path in paths if path[0] == "apps"), paths[0])
