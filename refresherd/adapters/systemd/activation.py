"""Socket activation: assigns the sockets that the service manager passed to their purposes."""

import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from refresherd.host.service_manager import Descriptor

API_NAMES = ("api", "refresherd-api.socket")
"""FileDescriptorName= of the API's socket, or its default, the name of the socket unit."""


@dataclass(frozen=True, slots=True)
class Activated:
    """The passed listening sockets by their purpose."""

    api: socket.socket | None = None
    raw: Mapping[Path, socket.socket] = field(default_factory=dict)
    """The apps' own sockets, by their configured path."""
    unwanted: tuple[socket.socket, ...] = ()
    """Those without a purpose. systemd has them open as well, so that clients would wait for ever
    if nobody turned them away."""
    warnings: tuple[str, ...] = ()
    """Lines about descriptors without a purpose."""


def activated(passed: Iterable[Descriptor], api: Path | None, raw: Iterable[Path]) -> Activated:
    """Assign each passed descriptor by its path to the API or to an app's socket.

    A socket with one of the API's names serves the API at any path: the author of the socket unit
    decides where clients find it.
    """
    paths = {os.path.realpath(path): path for path in raw}
    api_path = "" if api is None else os.path.realpath(api)
    warnings: list[str] = []
    served: dict[Path, socket.socket] = {}
    unwanted: list[socket.socket] = []
    api_socket = None
    for one in passed:
        listening = listening_socket(one.fd)
        if listening is None:
            warnings.append(
                f"{_description(one)} is not a listening Unix socket with a path, and was closed; "
                "write ListenStream= with a path in the socket unit"
            )
            continue
        path = os.path.realpath(listening.getsockname())
        if api_socket is None and (path == api_path or (api and one.name in API_NAMES)):
            api_socket = listening
            if path != api_path:
                warnings.append(
                    f"the API is served at {path}, the path in its socket unit; api.path is {api}"
                )
        elif path in paths:
            served[paths.pop(path)] = listening
        else:
            unwanted.append(listening)
            unit = one.name if one.name.endswith(".socket") else "its socket unit"
            if api is None and one.name in API_NAMES:
                message = f'api.path is "", so clients of {path} are turned away'
                cure = "disable refresherd-api.socket, or give api.path this path"
            else:
                message = (
                    f"{_description(one)} listens at {path}, which is neither api.path nor the "
                    "path of an app's socket; its clients are turned away"
                )
                cure = f"disable {unit}, or name the path in the configuration"
            warnings.append(f"{message}; {cure}")
    return Activated(api_socket, served, tuple(unwanted), tuple(warnings))


def listening_socket(fd: int) -> socket.socket | None:
    """Return the descriptor's socket if it is a Unix stream socket that listens at a path.

    Otherwise close it, and return None.
    """
    found = None
    try:
        found = socket.socket(fileno=fd)
        path = found.getsockname()
        unix_stream = found.family == socket.AF_UNIX and found.type == socket.SOCK_STREAM
        listens = unix_stream and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if listens and isinstance(path, str) and path.startswith("/"):
            found.setblocking(False)  # noqa: FBT003  # the method's only form
            return found
    except OSError:
        pass  # not a socket, or not open
    if found is not None:
        found.close()
    else:
        with suppress(OSError):
            os.close(fd)
    return None


def _description(one: Descriptor) -> str:
    return f"descriptor {one.fd} ({one.name or 'without a name'}), passed by the service manager,"
