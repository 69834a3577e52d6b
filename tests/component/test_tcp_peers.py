"""Whose the clients of TCP listeners are: real connections of real users."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from refresherd.host.tcp_peers import TcpPeers
from support.lab import needs_tool
from support.other_users import AS_ROOT, Identity, other_process

CONNECT = """
client = socket.socket(socket.{family})
client.connect(({host!r}, {port}))
"""

PLACES = [
    ("AF_INET", "127.0.0.1", "AF_INET", "127.0.0.1"),
    ("AF_INET", "0.0.0.0", "AF_INET", "127.8.8.8"),  # noqa: S104  # in a test
    ("AF_INET6", "::1", "AF_INET6", "::1"),
    ("AF_INET6", "::", "AF_INET6", "::1"),
    ("AF_INET6", "::", "AF_INET", "127.0.0.1"),
    ("AF_INET6", "::", "AF_INET6", "::ffff:127.0.0.1"),
]


@pytest.fixture
def peers() -> Iterator[TcpPeers]:
    """Return what is tested."""
    with closing(TcpPeers()) as peers:
        yield peers


@contextmanager
def listener(family: str = "AF_INET", address: str = "127.0.0.1") -> Iterator[socket.socket]:
    """Yield a TCP listener; one for IPv6 takes IPv4 as well."""
    with socket.socket(getattr(socket, family)) as listening:
        if family == "AF_INET6":
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            listening.bind((address, 0))
        except OSError:
            pytest.skip(f"this host has no {address}")
        listening.listen()
        yield listening


@AS_ROOT
@pytest.mark.parametrize(("family", "address", "client", "host"), PLACES)
def test_the_owner_is_the_user_who_connected(
    peers: TcpPeers, family: str, address: str, client: str, host: str
) -> None:
    """On each kind of listener, and however the client spells the address."""
    with listener(family, address) as listening:
        port = listening.getsockname()[1]
        doing = CONNECT.format(family=client, host=host, port=port)
        for uid in ("1234", "70000", "0"):
            with other_process(Path("/"), doing, Identity(uid)):
                connection, _ = listening.accept()
                with connection:
                    assert peers.owner(connection) == int(uid)


def connected(listening: socket.socket) -> tuple[socket.socket, socket.socket]:
    """Return a client of this process and its accepted connection."""
    client = socket.create_connection(listening.getsockname())
    return client, listening.accept()[0]


def test_a_client_that_has_finished_sending_keeps_its_owner(peers: TcpPeers) -> None:
    """It waits for the answer; but one that has closed its end has no owner any more.

    The kernel would name root as the owner of what is left of its socket.
    """
    with listener() as listening:
        client, connection = connected(listening)
        with client, connection:
            client.shutdown(socket.SHUT_WR)
            assert peers.owner(connection) == os.getuid()
            client.close()
            assert peers.owner(connection) is None


def test_a_client_that_was_reset_has_no_owner(peers: TcpPeers) -> None:
    """Another user may have its port by now."""
    with listener() as listening:
        client, connection = connected(listening)
        with client, connection:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            assert peers.owner(connection) is None


def test_a_listener_has_no_other_end(peers: TcpPeers) -> None:
    """Nobody is taken for its client."""
    with listener() as listening:
        assert peers.owner(listening) is None


def test_many_questions_take_one_descriptor(peers: TcpPeers) -> None:
    """It is kept open, and opened anew if that fails."""
    with listener() as listening:
        client, connection = connected(listening)
        with client, connection:
            assert peers.owner(connection) == os.getuid()
            before = len(list(Path("/proc/self/fd").iterdir()))
            assert {peers.owner(connection) for _ in range(1000)} == {os.getuid()}
            assert len(list(Path("/proc/self/fd").iterdir())) == before
            peers.close()
            assert peers.owner(connection) == os.getuid()


IN_ANOTHER_NETWORK = """
import socket, subprocess
from refresherd.host.tcp_peers import TcpPeers
run = lambda *words: subprocess.run(words, check=True)
run("ip", "link", "set", "lo", "up")
run("ip", "link", "add", "near", "type", "veth", "peer", "name", "far")
other = subprocess.Popen(["unshare", "-n", "sleep", "30"])
run("sh", "-c", f"until ip link set far netns {other.pid} 2>&1; do sleep 0.02; done")
run("ip", "addr", "add", "10.9.9.1/24", "dev", "near")
run("ip", "link", "set", "near", "up")
enter = ["nsenter", "-t", str(other.pid), "-n"]
run(*enter, "ip", "addr", "add", "10.9.9.2/24", "dev", "far")
run(*enter, "ip", "link", "set", "far", "up")
listening = socket.create_server(("10.9.9.1", 0))
port = listening.getsockname()[1]
connect = f"import socket; c = socket.create_connection(('10.9.9.1', {port})); print(c.recv(1))"
client = subprocess.Popen([*enter, "python3", "-c", connect])
connection, address = listening.accept()
near = socket.create_connection(listening.getsockname())
from_here, _ = listening.accept()
peers = TcpPeers()
print(address[0], peers.owner(connection), peers.owner(from_here))
connection.close()
client.wait()
other.kill()
"""


@AS_ROOT
def test_a_client_in_another_network_namespace_has_no_owner() -> None:
    """As a container, or another host: its users are none of this host's."""
    needs_tool("ip")
    unshare = [needs_tool("unshare"), "--net"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this host allows no network namespaces")
    ran = subprocess.run(
        [*unshare, sys.executable, "-c", IN_ANOTHER_NETWORK],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if "veth" in ran.stderr or "Operation not supported" in ran.stderr:
        pytest.skip("this kernel connects no namespaces")
    assert "10.9.9.2 None 0" in ran.stdout, ran.stderr
