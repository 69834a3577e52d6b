"""Sockets that a service manager passed on: each to what it is for, and a line for the others."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refresherd.adapters.systemd.activation import Activated, activated
from refresherd.host.service_manager import Descriptor, keep_from_children


def listening(path: Path) -> socket.socket:
    """Return a socket that listens at a path, as systemd makes it."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


def passed(made: socket.socket, name: str = "") -> Descriptor:
    """Return a socket as it comes: a number, and a name."""
    return Descriptor(made.detach(), name)


@pytest.fixture
def closing() -> Iterator[Callable[[Activated], Activated]]:
    """Yield what closes the sockets that were of use when the test is over."""
    found: list[Activated] = []

    def keep(one: Activated) -> Activated:
        found.append(one)
        return one

    yield keep
    for one in found:
        for kept in (*one.raw.values(), *((one.api,) if one.api else ())):
            kept.close()


Closing = Callable[[Activated], Activated]


def test_a_socket_is_known_by_its_own_path(tmp_path: Path, closing: Closing) -> None:
    """The unit and the configuration name the same path, and nothing else has to match."""
    api, raw = tmp_path / "api.sock", tmp_path / "payments.sock"
    descriptors = [passed(listening(raw), "x.socket"), passed(listening(api), "y.socket")]
    found = closing(activated(descriptors, api, [raw]))
    assert found.api is not None
    assert found.api.getsockname() == str(api)
    assert not found.api.getblocking()
    assert {path: one.getsockname() for path, one in found.raw.items()} == {raw: str(raw)}
    assert found.warnings == ()


def test_a_path_by_way_of_a_link_is_the_same(tmp_path: Path, closing: Closing) -> None:
    """/var/run is /run: the same place must not need the same words."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    real, linked = tmp_path / "run/api.sock", tmp_path / "link/api.sock"
    found = closing(activated([passed(listening(real))], linked, []))
    assert found.api is not None
    assert found.warnings == ()


@pytest.mark.parametrize("name", ["api", "refresherd-api.socket"])
def test_the_api_may_be_elsewhere_by_its_name(tmp_path: Path, name: str, closing: Closing) -> None:
    """Who wrote the socket's unit decides; and is told, for clients go by api.path."""
    found = closing(activated([passed(listening(tmp_path / "s"), name)], Path("/run/api.sock"), []))
    assert found.api is not None
    (warning,) = found.warnings
    assert warning == f"the API is served at {tmp_path}/s, as passed; api.path is /run/api.sock"


@pytest.mark.parametrize(("name", "api"), [("api", None), ("other", Path("/run/api.sock"))])
def test_what_nothing_wants_is_closed_and_named(tmp_path: Path, name: str, api: Path) -> None:
    """A client of such a socket would wait for ever, and its operator should learn why."""
    path = tmp_path / "s"
    one = passed(listening(path), name)
    found = activated([one], api, [Path("/run/payments.sock")])
    assert (found.api, found.raw) == (None, {})
    (warning,) = found.warnings
    assert f"descriptor {one.fd} ({name})" in warning
    assert f"listens at {path}, which is neither api.path nor" in warning
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(one.fd)
    assert path.exists()


def connected() -> socket.socket:
    """Return a socket that does not listen."""
    one, other = socket.socketpair()
    other.close()
    return one


def abstract() -> socket.socket:
    """Return a socket that has no path."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(f"\0refresherd-test-{os.getpid()}")
    made.listen()
    return made


def of_inet() -> socket.socket:
    """Return a socket of another family."""
    return socket.create_server(("127.0.0.1", 0))


def datagrams() -> socket.socket:
    """Return a socket of another type."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)


@pytest.mark.parametrize("make", [connected, abstract, of_inet, datagrams])
def test_another_kind_of_socket_gets_a_clear_line(make: Callable[[], socket.socket]) -> None:
    """ListenDatagram= or a port in the unit is an easy mistake, and no traceback's fault."""
    one = passed(make(), "api")
    found = activated([one], Path("/run/api.sock"), [])
    assert found.api is None
    (warning,) = found.warnings
    assert "is no listening Unix socket with a path, and is closed" in warning
    assert "ListenStream=" in warning
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(one.fd)


def test_what_is_no_socket_gets_the_same_line() -> None:
    """A pipe, or a number that nothing is open at, comes of a wrapper that closed or reused it."""
    reading, writing = os.pipe()
    os.close(writing)
    found = activated([Descriptor(reading, "api"), Descriptor(999, "")], None, [])
    assert len(found.warnings) == 2
    assert "descriptor 999 (without a name)" in found.warnings[1]
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(reading)


def test_programs_that_are_run_inherit_nothing_that_was_passed() -> None:
    """A hook that lives on would keep the socket open, and could answer on it."""
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)  # noqa: FBT003  # the function's only form
    keep_from_children((Descriptor(999, "closed"), Descriptor(reading, "")))
    assert not os.get_inheritable(reading)
    os.close(reading)
    os.close(writing)
