"""Outputs that can be written where they are wanted, and accounts that exist."""

import os
import stat
from pathlib import Path

from refresherd.config.document import AppDocument, Document
from refresherd.config.findings import Findings
from refresherd.config.host import Host
from refresherd.config.lines import KeyPath
from refresherd.config.scalars import Principal
from refresherd.config.tables import FileTable
from refresherd.config.wording import quoted
from refresherd.host import unix_sockets


def check_targets(document: Document, host: Host, faults: Findings) -> None:
    """Take note of every output that could not be written, and of unknown users and groups."""
    api = document.root.api
    # Where nobody asked for the socket, its directory is not theirs to make.
    if api.path and document.gives("api", "path"):
        _check_target(api.path.path, stat.S_IFSOCK, ("api", "path"), host, faults)
    _check_group(api.group, ("api", "group"), host, faults)
    for app in document.apps:
        _check_accounts(app, host, faults)
        for key, output in app.outputs():
            if output.path:
                kind = stat.S_IFREG if isinstance(output, FileTable) else stat.S_IFSOCK
                _check_target(output.path.path, kind, (*key, "path"), host, faults)


def _check_target(path: Path, kind: int, key: KeyPath, host: Host, faults: Findings) -> None:
    fault = host.directory_fault(path.parent)
    if fault and kind == stat.S_IFSOCK and unix_sockets.held(path):
        return  # it is there, so nobody has to make it: systemd has passed it on
    if fault := fault or _length_fault(path, kind) or _target_fault(path, kind, host.mounts):
        faults.add(key, fault)


def _length_fault(path: Path, kind: int) -> str:
    length = len(os.fsencode(path))
    if kind == stat.S_IFSOCK and length > unix_sockets.LONGEST_PATH:
        most = unix_sockets.LONGEST_PATH
        return f"a socket's path has {most} bytes at most, and this one {length}; shorten it"
    return ""


def _target_fault(path: Path, kind: int, mounts: frozenset[str]) -> str:
    """Return why a path cannot be replaced by a file or a socket, "" if it can."""
    name = quoted(str(path))
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{name} cannot be reached: {error.strerror}"
    if stat.S_ISDIR(mode):
        return f"{name} is a directory; name a file in it"
    if str(path.parent.resolve() / path.name) in mounts:
        return (
            f"{name} is a mount point, which no rename can replace; mount its directory instead "
            "of the file"
        )
    if stat.S_IFMT(mode) == kind or (stat.S_ISLNK(mode) and kind == stat.S_IFREG):
        return ""
    wanted = "regular file" if kind == stat.S_IFREG else "socket"
    return f"{name} is there already and is no {wanted}; name another path"


def _check_accounts(app: AppDocument, host: Host, faults: Findings) -> None:
    for key, output in app.outputs():
        _check_user(output.owner, (*key, "owner"), host, faults)
        _check_group(output.group, (*key, "group"), host, faults)
    for index, user in enumerate(app.own.access.users):
        _check_user(user, (*app.path, "access", "users", index), host, faults)
    for index, group in enumerate(app.own.access.groups):
        _check_group(group, (*app.path, "access", "groups", index), host, faults)


def _check_user(name: Principal, key: KeyPath, host: Host, faults: Findings) -> None:
    if name and not host.has_user(name):
        faults.add(key, f"there is no user {quoted(name)}; create it, or write a uid in quotes")


def _check_group(name: Principal, key: KeyPath, host: Host, faults: Findings) -> None:
    if name and not host.has_group(name):
        faults.add(key, f"there is no group {quoted(name)}; create it, or write a gid in quotes")
