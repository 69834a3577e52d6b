"""Paths that the daemon writes: they can be written and replaced, and their owners exist."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from refresherd.config.app_settings import FileTable
from refresherd.config.credentials import Environ, state_dir
from refresherd.config.findings import Finding, KeyPath, quoted
from refresherd.config.input_files import is_missing
from refresherd.config.parse import Settings
from refresherd.config.scalars import Location
from refresherd.host.accounts import group_id, user_id
from refresherd.host.unix_sockets import LONGEST_PATH, held

MOUNTINFO = Path("/proc/self/mountinfo")
MOUNT_POINT = 4
"""The field of its lines, from 0, that holds the mount point: proc_pid_mountinfo(5)."""

OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")

LONGEST_NAME = 1024
"""No account has a longer name; Python does not parse numbers of more than 4,300 digits."""


def check_output_paths(
    settings: Settings, environ: Environ, mounts: frozenset[str] | None = None
) -> Iterator[Finding]:
    """Yield the directories, files and sockets that could not be written.

    `mounts` are the mount points of this machine, read from the kernel unless they are given.
    """
    mounts = mount_points() if mounts is None else mounts
    directory_fault = cache(_directory_fault)
    state = state_dir(settings.root, environ)
    # The daemon creates its state directory, but not the one around it.
    if state and (fault := directory_fault(state.parent if is_missing(state) else state)):
        yield Finding(("state_dir",), fault)
    for key, location, is_file in _locations(settings):
        path = location.path
        fault = directory_fault(path.parent)
        if fault and not is_file and held(path):
            continue  # systemd has passed this socket on, so the daemon does not create it
        fault = fault or ("" if is_file else _length_fault(path))
        if fault := fault or _replacement_fault(path, mounts, is_file=is_file):
            yield Finding(key, fault)


def check_accounts(settings: Settings) -> Iterator[Finding]:
    """Yield the users and groups that this host does not have."""
    user_exists = cache(partial(_exists, user_id))
    group_exists = cache(partial(_exists, group_id))
    for is_user, key, name in _accounts(settings):
        if name and not (user_exists(name) if is_user else group_exists(name)):
            kind, number = ("user", "uid") if is_user else ("group", "gid")
            message = f"the {kind} {quoted(name)} does not exist"
            yield Finding(key, f"{message}; create it, or write a {number} in quotes")


def mount_points(table: Path = MOUNTINFO) -> frozenset[str]:
    """Return every mount point, single files included; none if the table cannot be read.

    Space, tab, newline and backslash are octal escapes there: proc_pid_mountinfo(5).
    """
    try:
        lines = table.read_text(errors="surrogateescape").split("\n")
    except OSError:
        return frozenset()
    fields = [line.split(" ") for line in lines]
    return frozenset(
        OCTAL_ESCAPE.sub(lambda found: chr(int(found[1], 8)), field[MOUNT_POINT])
        for field in fields
        if len(field) > MOUNT_POINT
    )


def _locations(settings: Settings) -> Iterator[tuple[KeyPath, Location, bool]]:
    """Yield key and path of every output, and whether it is a file rather than a socket."""
    # The directory of the API socket's default path is systemd's to create.
    api, written = settings.root.api, settings.written.get("api")
    if api.path and isinstance(written, dict) and "path" in written:
        yield ("api", "path"), api.path, False
    for app in settings.apps:
        for key, output in app.outputs():
            if output.path:
                yield (*key, "path"), output.path, isinstance(output, FileTable)


def _directory_fault(directory: Path) -> str:
    """Return why files cannot be replaced in a directory, "" if they can."""
    name = quoted(str(directory))
    try:
        mode = directory.stat().st_mode
        if not stat.S_ISDIR(mode):
            return f"{name} is not a directory; name one"
        # Root may write wherever modes forbid it, but not here.
        if os.statvfs(directory).f_flag & os.ST_RDONLY:
            return f"{name} is on a read-only file system; mount it writable (ReadWritePaths=)"
    except FileNotFoundError:
        return (
            f"the directory {name} does not exist; create it with mkdir -p, or have systemd "
            "create it (RuntimeDirectory=, StateDirectory=)"
        )
    except OSError as error:
        return f"{name} cannot be accessed: {error.strerror}"
    if not os.access(directory, os.W_OK | os.X_OK):
        return f"{name} is not writable for this user (uid {os.getuid()}); change its owner or mode"
    return ""


def _length_fault(socket: Path) -> str:
    length = len(os.fsencode(socket))
    if length <= LONGEST_PATH:
        return ""
    return f"the path has {length} bytes, and a socket's may have {LONGEST_PATH}; shorten it"


def _replacement_fault(path: Path, mounts: frozenset[str], *, is_file: bool) -> str:
    """Return why a path cannot be replaced by a file or a socket, "" if it can."""
    name = quoted(str(path))
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{name} cannot be accessed: {error.strerror}"
    if stat.S_ISDIR(mode):
        return f"{name} is a directory; name a file in it"
    if str(path.parent.resolve() / path.name) in mounts:
        return (
            f"{name} is a mount point, which cannot be replaced; mount its directory instead of "
            "the file"
        )
    if stat.S_ISREG(mode) or stat.S_ISLNK(mode) if is_file else stat.S_ISSOCK(mode):
        return ""
    wanted = "regular file" if is_file else "socket"
    return f"{name} exists and is not a {wanted}; name another path"


def _accounts(settings: Settings) -> Iterator[tuple[bool, KeyPath, str]]:
    """Yield whether it is a user, the key and the name of every user and group."""
    yield False, ("api", "group"), settings.root.api.group
    for app in settings.apps:
        for key, output in app.outputs():
            yield True, (*key, "owner"), output.owner
            yield False, (*key, "group"), output.group
        for index, name in enumerate(app.own.access.users):
            yield True, (*app.path, "access", "users", index), name
        for index, name in enumerate(app.own.access.groups):
            yield False, (*app.path, "access", "groups", index), name


def _exists(number_of: Callable[[str], int | None], name: str) -> bool:
    return len(name) <= LONGEST_NAME and number_of(name) is not None
