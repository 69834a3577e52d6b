"""Sockets that a service manager passed: each is assigned to its purpose, or turned away."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from refresherd.adapters.systemd.activation import Activated, activated
from refresherd.host.service_manager import Descriptor, keep_from_children


def listening(path: Path) -> socket.socket:
    """Return a socket that listens at a path, as systemd creates it."""
    made = socket.socket(socket.AF_UNIX)
    made.bind(str(path))
    made.listen()
    return made


def passed(made: socket.socket, name: str = "") -> Descriptor:
    """Return a socket as it is passed: a number and a name."""
    return Descriptor(made.detach(), name)


@pytest.fixture
def closing() -> Iterator[Callable[[Activated], Activated]]:
    """Yield a function that has the assigned sockets closed after the test."""
    found: list[Activated] = []

    def keep(one: Activated) -> Activated:
        found.append(one)
        return one

    yield keep
    for one in found:
        for kept in (*one.raw.values(), *one.unwanted, *((one.api,) if one.api else ())):
            kept.close()


Closing = Callable[[Activated], Activated]


def test_a_socket_is_assigned_by_its_path(tmp_path: Path, closing: Closing) -> None:
    """The unit and the configuration have the same path; nothing else has to match."""
    api, raw = tmp_path / "api.sock", tmp_path / "payments.sock"
    descriptors = [passed(listening(raw), "x.socket"), passed(listening(api), "y.socket")]
    found = closing(activated(descriptors, api, [raw]))
    assert found.api is not None
    assert found.api.getsockname() == str(api)
    assert not found.api.getblocking()
    assert {path: one.getsockname() for path, one in found.raw.items()} == {raw: str(raw)}
    assert found.warnings == ()


def test_a_path_through_a_link_is_the_same(tmp_path: Path, closing: Closing) -> None:
    """/var/run is /run: two spellings of a path may differ."""
    (tmp_path / "run").mkdir()
    (tmp_path / "link").symlink_to("run")
    real, linked = tmp_path / "run/api.sock", tmp_path / "link/api.sock"
    found = closing(activated([passed(listening(real))], linked, []))
    assert found.api is not None
    assert found.warnings == ()


@pytest.mark.parametrize("name", ["api", "refresherd-api.socket"])
def test_a_socket_with_the_apis_name_may_have_another_path(
    tmp_path: Path, name: str, closing: Closing
) -> None:
    """The author of the socket unit decides, and is warned, since clients use api.path."""
    found = closing(activated([passed(listening(tmp_path / "s"), name)], Path("/run/api.sock"), []))
    assert found.api is not None
    (warning,) = found.warnings
    assert warning == (
        f"the API is served at {tmp_path}/s, the path in its socket unit; api.path is /run/api.sock"
    )


@pytest.mark.parametrize(
    ("name", "api", "said"),
    [
        (
            "api",
            None,
            'api.path is "", so clients of {} are turned away; disable refresherd-api.socket, or',
        ),
        ("other.socket", Path("/run/api.sock"), "{}, which is neither api.path nor the path of"),
        ("other.socket", Path("/run/api.sock"), "are turned away; disable other.socket, or name"),
    ],
)
def test_a_socket_without_a_purpose_is_unwanted_and_named(
    tmp_path: Path, closing: Closing, name: str, api: Path, said: str
) -> None:
    """Systemd has it open as well: its clients would wait for ever."""
    path = tmp_path / "s"
    one = passed(listening(path), name)
    found = closing(activated([one], api, [Path("/run/payments.sock")]))
    assert (found.api, found.raw) == (None, {})
    assert [unwanted.getsockname() for unwanted in found.unwanted] == [str(path)]
    (warning,) = found.warnings
    assert said.format(path) in warning


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
def test_another_kind_of_socket_is_closed_with_a_warning(make: Callable[[], socket.socket]) -> None:
    """ListenDatagram= or a port in the unit is an easy mistake."""
    one = passed(make(), "api")
    found = activated([one], Path("/run/api.sock"), [])
    assert found.api is None
    (warning,) = found.warnings
    assert "is not a listening Unix socket with a path, and was closed" in warning
    assert "ListenStream=" in warning
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(one.fd)


def test_a_descriptor_that_is_no_socket_gets_the_same_warning() -> None:
    """A wrapper may have closed or reused the descriptor."""
    reading, writing = os.pipe()
    os.close(writing)
    found = activated([Descriptor(reading, "api"), Descriptor(999, "")], None, [])
    assert len(found.warnings) == 2
    assert "descriptor 999 (without a name)" in found.warnings[1]
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(reading)


def test_child_processes_inherit_no_passed_descriptor() -> None:
    """A hook that goes on running would keep the socket open, and could answer on it."""
    reading, writing = os.pipe()
    os.set_inheritable(reading, True)  # noqa: FBT003  # the function's only form
    keep_from_children((Descriptor(999, "closed"), Descriptor(reading, "")))
    assert not os.get_inheritable(reading)
    os.close(reading)
    os.close(writing)
