"""Who else may change what the daemon trusts: its configuration, keys, programs, state and outputs.

Every name on the way to a file counts, links included: whoever may replace one of them decides
which file it is. The sticky bit of a directory, such as /tmp, protects the files of trusted users.
"""

import os
import stat
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from refresherd.config.collisions import inputs
from refresherd.config.findings import Finding, KeyPath, Kind, quoted
from refresherd.config.input_files import is_read_only
from refresherd.config.parse import Settings
from refresherd.config.scalars import OutputPath
from refresherd.host.path_identity import Place, Resolver
from refresherd.host.trust import look_up_groups_again, other_owner, other_writers

PRIVATE = frozenset({"api_key_file", "password_file", "token_file", "key_file"})
"""Keys whose files' own modes are checked with their content."""

CURE = "change its owner, or run refresherd as that user"


class OtherUsers(NamedTuple):
    """The untrusted users who may change a directory; "" for none."""

    writers: str = ""
    owner: str = ""
    sticky: bool = False
    """Whether its writers may replace only their own files."""


class Exposure(NamedTuple):
    """A way in which somebody else may change a file, and the cure."""

    message: str
    by_owner: bool
    """The file, a link to it or its directory belongs to that user."""


def check_trust(settings: Settings, resolver: Resolver) -> Iterator[Finding]:
    """Yield what somebody else may change or replace although the daemon trusts it.

    It is a fault if they could choose what the daemon runs or whose token it hands out. It is a
    warning if the configuration itself names the file of another user, and so trusts that user.
    """
    look_up_groups_again()
    credentials = settings.credentials_directory
    others_in = cache(_others)
    # The files of ten thousand apps share the steps to their directory, whose hashes are known.
    others_above = cache(lambda step: others_in(step.parent))
    for key, path in inputs(settings, resolver):
        # Credentials that systemd passes are private to the service, whatever their modes.
        if credentials is None or not path.is_relative_to(credentials):
            on_the_way = _exposures_on_the_way(resolver.opened(path), others_above)
            yield from _judged(key, [*on_the_way, *_own_exposures(key, path)])
    yield from _check_search(settings, others_in)
    yield from _check_state(settings)
    yield from _check_outputs(settings, others_in)


def _judged(key: KeyPath, exposures: list[Exposure]) -> Iterator[Finding]:
    """Yield the worst of a file's exposures."""
    worst = min(exposures, key=lambda exposure: exposure.by_owner, default=None)
    if worst is None:
        return
    if key and key[-1] == "pid_file":
        # Services write their pid files themselves, and can only choose which process is signalled.
        if not worst.by_owner:
            yield Finding(key, worst.message, Kind.WARNING)
    else:
        yield Finding(key, worst.message, Kind.WARNING if key and worst.by_owner else Kind.FAULT)


def _exposures_on_the_way(
    place: Place, others_above: Callable[[Path], OtherUsers]
) -> Iterator[Exposure]:
    for step in place.steps:
        others = others_above(step)
        if not others.writers and not others.owner:
            continue
        holder, name = quoted(str(step.parent)), quoted(str(step))
        if others.writers and not others.sticky:
            message = f"{others.writers} may write to {holder}, and so replace {name}"
            yield Exposure(f"{message}; run chmod go-w {holder}", by_owner=False)
        elif others.writers and (owner := _owner(step)):
            yield Exposure(f"{name} belongs to {owner}, who may replace it; {CURE}", by_owner=True)
        if others.owner:
            message = f"{holder} belongs to {others.owner}, who may replace {name}"
            yield Exposure(f"{message}; {CURE}", by_owner=True)


def _own_exposures(key: KeyPath, path: Path) -> Iterator[Exposure]:
    """Yield who may change the file itself."""
    try:
        found = path.stat()
    except OSError:
        return
    # A container's configuration often belongs to a user of the host, who mounts it read-only.
    if is_read_only(path):
        return
    name = quoted(str(path))
    # A web configuration's key that others may read is only a warning.
    mode_is_checked = key and key[-1] in PRIVATE and key[0] != "http"
    if stat.S_ISREG(found.st_mode):
        if not mode_is_checked and (writers := other_writers(found)):
            yield Exposure(f"{writers} may write to {name}; run chmod go-w {name}", by_owner=False)
        if owner := other_owner(found):
            yield Exposure(f"{name} belongs to {owner}, who may change it; {CURE}", by_owner=True)


def _check_search(settings: Settings, others_in: Callable[[Path], OtherUsers]) -> Iterator[Finding]:
    """Yield directories of PATH where others may put a program that is found first."""
    search = settings.search_path.split(os.pathsep)
    for key, name in settings.programs:
        if "/" in name:
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
    """Yield that others may plant a session in the state directory.

    Its owner is checked when it is locked: root may check the configuration of another user.
    """
    state = settings.state_dir
    if state is not None and (writers := (others := _others(state)).writers):
        name = quoted(str(state))
        # Such as /tmp: every other program on the host needs its mode.
        cure = "" if others.sticky else f"run chmod 0700 {name}, or "
        yield Finding(
            ("state_dir",),
            f"{writers} may write to {name}, and so plant a session; {cure}name a directory in it",
        )


def _check_outputs(
    settings: Settings, others_in: Callable[[Path], OtherUsers]
) -> Iterator[Finding]:
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


def _others(directory: Path) -> OtherUsers:
    try:
        found = directory.stat()
    except OSError:
        return OtherUsers()
    # Kubernetes mounts secrets and configurations with any mode, but read-only.
    if is_read_only(directory):
        return OtherUsers()
    sticky = bool(found.st_mode & stat.S_ISVTX)
    return OtherUsers(other_writers(found), other_owner(found), sticky)
