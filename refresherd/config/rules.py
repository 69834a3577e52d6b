"""Rules between the values of a configuration, which hold on any machine."""

import re
import stat
from collections.abc import Callable, Iterator, Mapping

from refresherd.config.addresses import Listen
from refresherd.config.app_settings import APP_NAME, HookTable
from refresherd.config.findings import Finding, KeyPath, Kind, quoted
from refresherd.config.parse import AppSettings, Settings
from refresherd.config.scalars import Duration, DurationOrNever, Mode
from refresherd.config.settings import RefreshTable, Shutdown
from refresherd.domain.model import Method

Where = Callable[[str], KeyPath]
"""Returns where the value of a key that may be inherited is written."""

SHORTEST: Mapping[str | int, Duration] = {
    "timeout": Duration("1ms"),
    "retry_min": Duration("100ms"),
    "session_check": Duration("1s"),
}
"""The shortest durations that these keys may have, in any table."""

EARLIEST = 0.05
"""The earliest share of a lifetime at which a refresh may come."""

ROUNDING = 1e-9

SAFE_REJECTED_RETRY = Duration("29m")
"""The shortest wait that keeps refused logins at 50 or fewer in 24 hours."""

OPEN_TO_ALL = stat.S_IROTH | stat.S_IWOTH

READERS = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH
"""One bit to the right of each is the permission to write."""


def check_rules(settings: Settings) -> Iterator[Finding]:
    """Yield every rule that the settings break."""
    root = settings.root
    yield from _check_values(settings)
    yield from _check_refresh(settings, root.refresh, lambda key: ("refresh", key))
    if not settings.apps and not any(key[0] == "apps" for key in settings.invalid):
        message = "no apps are configured; write a table headed [apps.NAME] for each app"
        yield Finding(("apps",), message)
    for app in settings.apps:
        if app.refresh is not root.refresh:
            yield from _check_refresh(settings, app.refresh, app.where)
        yield from _check_app(settings, app)
        for index, hook in enumerate(app.own.hooks):
            yield from _check_hook(settings, hook, (*app.path, "hooks", index))
    yield from _check_endpoints(settings)


def check_intentions(settings: Settings) -> Iterator[Finding]:
    """Yield what is allowed but may not be meant: warnings."""
    terminate = settings.root.shutdown is Shutdown.TERMINATE
    if terminate and any(app.own.token_file for app in settings.apps):
        yield Finding(
            ("shutdown",),
            '"terminate" has no effect on apps with a token_file: their last session is kept, '
            "because they need it to continue after a restart",
            Kind.WARNING,
        )
    for key, mode in settings.written(Mode):
        # Connecting to a socket takes the permission to write to it: unix(7).
        is_socket = "files" not in key[2:]
        if key[0] == "apps" and mode.bits & (stat.S_IWOTH if is_socket else OPEN_TO_ALL):
            limited = "0660" if is_socket else "0640"
            yield Finding(
                key,
                f"{quoted(mode)} gives every user of this host access to the token; "
                f"set a group and {quoted(limited)} to limit it",
                Kind.WARNING,
            )
        if not mode.bits & (READERS | (READERS >> 1 if is_socket else 0)):
            yield Finding(
                key,
                f"{quoted(mode)} lets nobody but root {'connect' if is_socket else 'read it'}; "
                'write "0600" for the owner',
                Kind.WARNING,
            )
        useful = mode.bits | (mode.bits & READERS) >> 1
        if is_socket and useful != mode.bits:
            yield Finding(
                key,
                f"{quoted(mode)} lets some users read who cannot connect, since connecting to a "
                f"socket takes the permission to write; write {quoted(f'{useful:04o}')}",
                Kind.WARNING,
            )


def _check_values(settings: Settings) -> Iterator[Finding]:
    for key, value in settings.values:
        if isinstance(value, Duration | DurationOrNever) and value.seconds is not None:
            least = SHORTEST.get(key[-1])
            if least is not None and value.seconds < least.seconds:
                yield Finding(key, f"{quoted(value)} is too short; write {quoted(least)} or more")
    yield from _check_listen(settings)


def _check_listen(settings: Settings) -> Iterator[Finding]:
    """Yield addresses that are listed twice, by themselves or as one of all addresses."""
    seen = set()
    written = {listen.address: listen for _, listen in settings.written(Listen)}
    for key, listen in settings.written(Listen):
        host, port = listen.address
        every = "::" if ":" in host else "0.0.0.0"  # noqa: S104  # it is only compared
        if listen.address in seen:
            yield Finding(key, f"{quoted(listen)} is listed twice; remove one of them")
        elif host != every and port and (whole := written.get((every, port))):
            message = f"{quoted(whole)} listens on it as well; remove one of them"
            yield Finding(key, message)
        seen.add(listen.address)


def _check_refresh(settings: Settings, refresh: RefreshTable, where: Where) -> Iterator[Finding]:
    key = _to_correct(settings, where, "jitter", "at")
    largest_jitter = refresh.at - EARLIEST
    if key and refresh.jitter > largest_jitter + ROUNDING:
        limit = round(largest_jitter, 6)
        cure = f"lower jitter to {limit} or less" if limit else "set jitter to 0"
        yield Finding(
            key,
            f"at = {refresh.at} with jitter = {refresh.jitter} may refresh a token as soon as it "
            f"is issued; {cure}, or raise at",
        )
    key = _to_correct(settings, where, "retry_min", "retry_max")
    if key and refresh.retry_min.seconds > refresh.retry_max.seconds:
        least, most = quoted(refresh.retry_min), quoted(refresh.retry_max)
        blamed = f"{least} is longer than retry_max ({most}); lower retry_min or raise retry_max"
        if key[-1] == "retry_max":
            blamed = f"{most} is shorter than retry_min ({least}); raise it, or lower retry_min"
        yield Finding(key, blamed)


def _check_app(settings: Settings, app: AppSettings) -> Iterator[Finding]:
    if re.fullmatch(APP_NAME, app.name) is None:
        yield Finding(
            app.path,
            f"{quoted(app.name)} is not a valid app name; write up to 64 letters, digits, "
            "dots, dashes and underscores, beginning with a letter or a digit",
        )
    key = _to_correct(settings, app.where, "rejected_retry", "endpoint")
    too_short = app.refresh.rejected_retry.seconds < SAFE_REJECTED_RETRY.seconds
    if key and too_short and app.dsm.endpoint and not app.dsm.endpoint.loopback:
        yield Finding(
            key,
            f"a rejected_retry of {quoted(app.refresh.rejected_retry)} endangers the credential: "
            "DSM may reset an app's secret after 100 refused logins in 24 hours, and at most 50 "
            f"are made; write {quoted(SAFE_REJECTED_RETRY)} or more (less is accepted for an "
            "endpoint on a loopback host only)",
        )
    if app.own.token_file and app.refresh.renew is Method.AUTH:
        yield Finding(
            app.where("renew"),
            '"auth" logs in each time, which a token_file cannot do; write "reauth" or "keepalive"',
        )
    for kind, outputs in ("files", app.own.files), ("sockets", app.own.sockets):
        for index, output in enumerate(outputs):
            key = (*app.path, kind, index)
            if not output.path and settings.valid(key, (*key, "path")):
                message = "missing; write the path at which consumers find the token"
                yield Finding((*key, "path"), message)


def _check_endpoints(settings: Settings) -> Iterator[Finding]:
    lacking = [
        app
        for app in settings.apps
        if not app.dsm.endpoint and settings.valid(app.where("endpoint"), ("dsm",))
    ]
    for app in lacking:
        if len(lacking) == len(settings.apps):
            message = 'missing; write the address of your DSM, such as "https://amer.smartkey.io"'
            yield Finding(("dsm", "endpoint"), message)
            return
        message = "missing; write the address of the app's DSM here, or one for all apps in [dsm]"
        yield Finding((*app.path, "endpoint"), message)


def _check_hook(settings: Settings, hook: HookTable, path: KeyPath) -> Iterator[Finding]:
    if not settings.valid(*((*path, key) for key in ("command", "signal", "pid_file"))):
        return
    if hook.command and (hook.signal or hook.pid_file):
        yield Finding(path, "a hook has either a command or a signal; write two hooks for both")
    elif not hook.command and not (hook.signal or hook.pid_file):
        yield Finding(path, "the hook does nothing; write a command, or a signal and a pid_file")
    elif not hook.command and not (hook.signal and hook.pid_file):
        yield Finding(path, "signal and pid_file need each other; write both")


def _to_correct(settings: Settings, where: Where, *keys: str) -> KeyPath | None:
    """Return which of several keys to correct, None if they are not all valid.

    One under the app itself comes first, then one that is written anywhere: nobody looks for a
    default in the file.
    """
    paths = [where(key) for key in keys]
    if not settings.valid(*paths):
        return None
    own = [path for path in paths if path[0] == "apps"]
    return next(iter([*own, *(path for path in paths if path in settings.shared)]), paths[0])
