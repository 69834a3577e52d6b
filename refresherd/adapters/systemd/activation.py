"""Sockets that the service manager listens on and passes on: which of them serves what."""

import os
import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from refresherd.host.service_manager import Descriptor

API_NAMES = ("api", "refresherd-api.socket")
"""FileDescriptorName= of the API's socket, and the name that it has without one: its unit's."""


@dataclass(frozen=True, slots=True)
class Activated:
    """The listening sockets by their purpose; `raw` by the path that is configured.

    `warnings` are lines about what was passed and is of no use: it has been closed.
    """

    api: socket.socket | None = None
    raw: Mapping[Path, socket.socket] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def activated(passed: Iterable[Descriptor], api: Path | None, raw: Iterable[Path]) -> Activated:
    """Return what was passed, by the paths that are configured for it.

    A socket's own path says what it is for; another path may serve the API where the name
    says so, since whoever wrote the socket's unit decides where clients find it.
    """
    wanted = {os.path.realpath(path): path for path in raw}
    api_place = "" if api is None else os.path.realpath(api)
    warnings: list[str] = []
    served: dict[Path, socket.socket] = {}
    api_socket = None
    for one in passed:
        listening = _listening(one, warnings)
        if listening is None:
            continue
        place = os.path.realpath(listening.getsockname())
        if api_socket is None and (place == api_place or (api and one.name in API_NAMES)):
            api_socket = listening
            if place != api_place:
                warnings.append(f"the API is served at {place}, as passed; api.path is {api}")
        elif place in wanted:
            served[wanted.pop(place)] = listening
        else:
            listening.close()
            warnings.append(_unwanted(one, place))
    return Activated(api_socket, served, tuple(warnings))


def _listening(one: Descriptor, warnings: list[str]) -> socket.socket | None:
    """Return the socket, or close what is none and add a line about it."""
    found = None
    try:
        found = socket.socket(fileno=one.fd)
        if _serves(found):
            found.setblocking(False)  # noqa: FBT003  # the method's only form
            return found
    except OSError:
        pass  # it is no socket, or not even open
    if found is not None:
        found.close()
    else:
        _close(one.fd)
    warnings.append(
        f"{_called(one)} is no listening Unix socket with a path, and is closed; in the socket "
        "unit write ListenStream= and a path"
    )
    return None


def _serves(found: socket.socket) -> bool:
    """Return whether clients reach the socket by a path, and get a stream."""
    if found.family != socket.AF_UNIX or found.type != socket.SOCK_STREAM:
        return False
    path = found.getsockname()
    listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return bool(listens) and isinstance(path, str) and path.startswith("/")


def _unwanted(one: Descriptor, place: str) -> str:
    return (
        f"{_called(one)} listens at {place}, which is neither api.path nor the path of a socket of "
        "any app; it is closed"
    )


def _called(one: Descriptor) -> str:
    return f"descriptor {one.fd} ({one.name or 'without a name'}), passed by the service manager,"


def _close(fd: int) -> None:
    with suppress(OSError):
        os.close(fd)
