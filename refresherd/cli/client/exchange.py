"""A request on the daemon's Unix socket, and what may go wrong with one."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic, sleep

from refresherd import __version__
from refresherd.cli.client.failures import (
    CommandError,
    NoDaemon,
    NotPermitted,
    TimedOut,
    Unintelligible,
)
from refresherd.cli.client.identity import whoever_asks

BUSY = 0.02
"""Seconds between attempts to connect while the daemon's queue of connections is full."""


def sent(path: str, method: str, target: str, timeout: float) -> socket.socket:
    """Return a connection on which a request has been sent, and nothing been read.

    `timeout` in seconds, for the connection and then for each wait on it. Raises OSError.
    """
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.settimeout(timeout)
        _connect(connection, path, monotonic() + timeout)
        connection.sendall(_request(method, target))
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def message(path: str, timeout: float) -> Iterator[None]:
    """Turn what goes wrong with the socket at `path` into errors that name it."""
    try:
        yield
    except Unintelligible as error:
        raise Unintelligible(
            f"what answers on {path} is no refresherd that this command understands: {error}"
        ) from error
    except OSError as error:
        raise _trouble(error, path, timeout) from error


def _connect(connection: socket.socket, path: str, deadline: float) -> None:
    while True:
        try:
            return connection.connect(path)
        except BlockingIOError:
            # Linux says EAGAIN for a full queue, however long the socket's timeout is.
            if monotonic() >= deadline:
                raise TimeoutError from None
            sleep(BUSY)


def _request(method: str, target: str) -> bytes:
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: refresherd",
        f"User-Agent: refresherd/{__version__}",
        "Connection: close",
    ]
    if method == "POST":
        lines.append("Content-Length: 0")
    return "".join(f"{line}\r\n" for line in [*lines, ""]).encode("ascii")


def _trouble(error: OSError, path: str, timeout: float) -> CommandError:
    match error:
        case TimeoutError():
            return TimedOut(f"no answer on {path} within {timeout:g} s")
        case PermissionError():
            return NotPermitted(
                f"{whoever_asks()} may not connect to {path}: mode and group under [api] in the "
                "daemon's configuration decide"
            )
        case ConnectionRefusedError() | FileNotFoundError() | NotADirectoryError():
            return NoDaemon(
                f"nothing answers on {path}: is refresherd running? "
                "--socket or $REFRESHERD_SOCKET names another"
            )
        case ConnectionError():
            return NoDaemon(f"the daemon closed the connection on {path}")
        case _:
            return NoDaemon(f"{path} cannot be used as the daemon's socket: {error}")
