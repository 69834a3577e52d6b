"""Who else may change what the daemon trusts: its configuration, keys, programs, state and outputs.

Every name on the way to a file counts, links included: who may replace one of them decides which
file it is. A directory with the sticky bit, such as /tmp, protects what trusted users have there.
"""

import os
import stat
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from refresherd.config.collisions import inputs
from refresherd.config.findings import Finding, KeyPath, Kind, quoted
from refresherd.config.parse import Settings
from refresherd.config.scalars import Argument, OutputPath
from refresherd.host.path_identity import Place, Resolver
from refresherd.host.trust import other_owner, other_writers

PRIVATE = frozenset({"api_key_file", "password_file", "token_file", "key_file"})
"""Keys whose files' own modes are checked with their content."""


CURE = "change its owner, or run refresherd as that user"


class Others(NamedTuple):
    """What others may do in a directory; "" for nobody but trusted users."""

    writers: str = ""
    owner: str = ""
    sticky: bool = False
    """Whether its writers may replace only what is theirs."""


class Danger(NamedTuple):
    """A way in which somebody else may change a file, and the cure."""

    message: str
    by_owner: bool
    """The file, a link to it or its directory belongs to that user."""


def check_trust(settings: Settings, resolver: Resolver) -> Iterator[Finding]:
    """Yield what somebody else may change, or may put in the place of what is trusted.

    A fault where that lets them choose what the daemon runs or whose token it hands out. A warning
    where the configuration itself names the file of another user, and so trusts that user.
    """
    credentials = settings.credentials_directory
    others_in = cache(_others)
    # Files share the steps to their directory, whose hashes are known: ten thousand take time.
    others_above = cache(lambda step: others_in(step.parent))
    for key, path in inputs(settings, resolver):
        # Credentials that systemd passes are private to the service, whatever their modes.
        if credentials is None or not path.is_relative_to(credentials):
            on_the_way = _dangers_on_the_way(resolver.opened(path), others_above)
            yield from _judged(key, [*on_the_way, *_own_dangers(key, path)])
    yield from _check_search(settings, others_in)
    yield from _check_state(settings)
    yield from _check_outputs(settings, others_in)


def _judged(key: KeyPath, dangers: list[Danger]) -> Iterator[Finding]:
    """Yield the worst of a file's dangers."""
    worst = min(dangers, key=lambda danger: danger.by_owner, default=None)
    if worst is None:
        return
    if key and key[-1] == "pid_file":
        # Services write their pid files themselves; only processes can be chosen to be signalled.
        if not worst.by_owner:
            yield Finding(key, worst.message, Kind.WARNING)
    else:
        yield Finding(key, worst.message, Kind.WARNING if key and worst.by_owner else Kind.FAULT)


def _dangers_on_the_way(place: Place, others_above: Callable[[Path], Others]) -> Iterator[Danger]:
    for step in place.steps:
        others = others_above(step)
        if not others.writers and not others.owner:
            continue
        holder, name = quoted(str(step.parent)), quoted(str(step))
        if others.writers and not others.sticky:
            message = f"{others.writers} may write to {holder}, and so replace {name}"
            yield Danger(f"{message}; run chmod go-w {holder}", by_owner=False)
        elif others.writers and (owner := _owner(step)):
            yield Danger(f"{name} belongs to {owner}, who may replace it; {CURE}", by_owner=True)
        if others.owner:
            message = f"{holder} belongs to {others.owner}, who may replace {name}"
            yield Danger(f"{message}; {CURE}", by_owner=True)


def _own_dangers(key: KeyPath, path: Path) -> Iterator[Danger]:
    """Yield who may change the file itself."""
    try:
        found = path.stat()
    except OSError:
        return
    name = quoted(str(path))
    judged_elsewhere = key and key[-1] in PRIVATE
    if stat.S_ISREG(found.st_mode):
        if not judged_elsewhere and (writers := other_writers(found)):
            yield Danger(f"{writers} may write to {name}; run chmod go-w {name}", by_owner=False)
        if owner := other_owner(found):
            yield Danger(f"{name} belongs to {owner}, who may change it; {CURE}", by_owner=True)


def _check_search(settings: Settings, others_in: Callable[[Path], Others]) -> Iterator[Finding]:
    """Yield where others may put a program that is found before the one that is meant."""
    search = settings.environ.get("PATH", os.defpath).split(os.pathsep)
    for key, name in settings.values:
        if not isinstance(name, Argument) or key[-1] != 0 or "/" in name:
            continue
        for directory in map(Path, filter(None, search)):
            if os.access(directory / name, os.X_OK):
                break
            if writers := others_in(directory).writers:
                where = quoted(str(directory))
                yield Finding(
                    key,
                    f"{writers} may write to {where}, where PATH has {quoted(name)} looked for "
                    f"first; write the program's absolute path, or take {where} out of PATH",
                )
                break


def _check_state(settings: Settings) -> Iterator[Finding]:
    """Yield whether others may plant a session in the state directory.

    Its owner is checked when it is locked: root may check the configuration of another user.
    """
    state = settings.state_dir
    if state is not None and (writers := _others(state).writers):
        name = quoted(str(state))
        yield Finding(
            ("state_dir",),
            f"{writers} may write to {name}, and so plant a session; run chmod 0700 {name}, or "
            "name a directory in it",
        )


def _check_outputs(settings: Settings, others_in: Callable[[Path], Others]) -> Iterator[Finding]:
    """Yield each directory of outputs in which others may put a file of their own."""
    seen = set()
    for key, location in settings.written(OutputPath):
        directory = location.path.parent
        others = others_in(directory)
        if others.writers and directory not in seen:
            seen.add(directory)
            name = quoted(str(directory))
            cure = "" if others.sticky else f"run chmod go-w {name}, or "
            yield Finding(
                key,
                f"{others.writers} may write to {name}, and so put something else in this "
                f"place; {cure}name another directory",
                Kind.WARNING,
            )


def _owner(step: Path) -> str:
    try:
        return other_owner(step.lstat())
    except OSError:
        return ""


def _others(directory: Path) -> Others:
    try:
        found = directory.stat()
        # Kubernetes mounts secrets and configurations with any mode, but read-only.
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            return Others()
    except OSError:
        return Others()
    sticky = bool(found.st_mode & stat.S_ISVTX)
    return Others(other_writers(found), other_owner(found), sticky)
