"""Paths that the daemon writes: they must be writable and replaceable, and their owners exist."""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresherd.config.output_paths import check_output_paths, mount_points
from refresherd.config.parse import parse_settings
from refresherd.config.settings import ApiTable
from refresherd.config.source import read_toml
from support.configurations import DSM, NOBODY, Place
from support.other_users import AS_ROOT, reachable

APP = f"{DSM}[apps.a]\napi_key_file = 'payments.key'\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a directory with an API key in it."""
    return Place(tmp_path)


@pytest.fixture
def shared_place() -> Iterator[Place]:
    """Yield a directory that other users may enter but not write to, with their API key."""
    with reachable() as directory:
        place = Place(directory)
        os.chown(directory / "payments.key", NOBODY, NOBODY)
        yield place


def output(body: str, kind: str = "files") -> str:
    """Return a configuration with one output, whose keys begin on line 6."""
    return f"{APP}[[apps.a.{kind}]]\n{body}\n"


def test_an_output_may_be_new_or_replace_its_own_kind(place: Place) -> None:
    """A file may replace a file or a link, and a socket one that a killed daemon has left."""
    place.write("old", "")
    (place.directory / "link").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place.directory / "old.sock"))
    for name in ("new", "old", "link"):
        assert place.faults(output(f"path = '{name}'")) == ()
    for name in ("new", "old.sock"):
        assert place.faults(output(f"path = '{name}'", "sockets")) == ()


@pytest.mark.parametrize(
    ("kind", "path", "expected"),
    [
        ("files", "gone/token", "does not exist; create it with mkdir -p"),
        ("files", "payments.key/token", "is not a directory"),
        ("files", "directory", "is a directory; name a file in it"),
        ("files", "loop/token", "cannot be accessed: Too many levels"),
        ("files", "x" * 256, "a name in this path has 256 bytes, and may have at most 255"),
        ("files", "pipe", "is a named pipe; name another path"),
        ("sockets", "old", "is a file; move it away, or name another path"),
        ("sockets", "directory", "is a directory; move it away, or name another path"),
        ("sockets", "pipe", "is a named pipe; move it away"),
        ("sockets", "loop", "is a symbolic link; move it away"),
        ("sockets", "x" * 107, "and a socket's may have at most 107"),
        ("sockets", "gone/sock", "does not exist; create it with mkdir -p"),
    ],
)
def test_a_path_that_cannot_be_replaced_is_refused(
    place: Place, kind: str, path: str, expected: str
) -> None:
    """Otherwise the first token would have nowhere to go."""
    (place.directory / "directory").mkdir()
    (place.directory / "loop").symlink_to("loop")
    os.mkfifo(place.directory / "pipe")
    place.write("old", "")
    (fault,) = place.faults(output(f"path = '{path}'", kind))
    assert fault.startswith(f"6: apps.a.{kind}[0].path: ")
    assert expected in fault


def test_a_device_is_never_replaced(place: Place) -> None:
    """A rename over /dev/null would succeed for root, and break the host."""
    (fault,) = place.faults(output("path = '/dev/null'"))
    allowed = os.access("/dev", os.W_OK)
    assert ("is a device; name another" if allowed else "is not writable") in fault


def test_a_mounted_file_is_refused(place: Place) -> None:
    """A rename cannot replace it (EBUSY), and its consumer would keep the old file."""
    target = place.write("mounted token", "")
    (place.directory / "link").symlink_to(place.directory)
    text = output("path = 'link/mounted token'")
    settings = parse_settings(read_toml(place.file, text), place.file, {})
    (fault,) = check_output_paths(settings, mounts=frozenset({str(target.resolve())}))
    assert "is a mount point, which cannot be replaced; mount its directory" in fault.message


def test_mount_points_are_read_from_the_kernel(tmp_path: Path) -> None:
    """Mounted files are included, and escapes are decoded."""
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "40 22 8:1 /srv/a\\040b /run/a\\040b/x\\134y rw shared:1 - ext4 /dev/sda1 rw\n"
        "\n"
    )
    assert mount_points(table) == {"/", "/run/a b/x\\y"}
    assert mount_points(tmp_path / "gone") == frozenset()
    # Not "/": in a chroot the root is not a mount point.
    assert "/proc" in mount_points()


@AS_ROOT
def test_a_directory_that_may_not_be_written_is_refused(shared_place: Place) -> None:
    """The fault names the user who may not write there."""
    (fault,) = shared_place.faults_of_nobody(output("path = 'token'"))
    assert f"is not writable for this user (uid {NOBODY})" in fault


@AS_ROOT
def test_the_directory_of_a_socket_from_systemd_need_not_be_writable(shared_place: Place) -> None:
    """With DynamicUser= systemd passes on a socket in root's directory, at a reload as well."""
    path = shared_place.directory / "a.sock"
    with socket.socket(socket.AF_UNIX) as server, socket.create_server(("127.0.0.1", 0)):
        server.bind(str(path))
        (fault,) = shared_place.faults_of_nobody(output("path = 'a.sock'", "sockets"))
        assert "is not writable" in fault
        server.listen()
        assert shared_place.faults_of_nobody(output("path = 'a.sock'", "sockets")) == ()
        (fault,) = shared_place.faults_of_nobody(output("path = 'b.sock'", "sockets"))
        assert "is not writable" in fault


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """Yield a directory on a read-only file system, or skip the test."""
    directory = tmp_path / "read-only"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(directory)]
    unmount = ["umount", str(directory)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("takes the right to mount")
    try:
        yield directory
    finally:
        subprocess.run(unmount, check=True)


@AS_ROOT
def test_a_read_only_file_system_is_refused(place: Place, read_only: Path) -> None:
    """Modes do not stop root, but a read-only mount does."""
    (fault,) = place.faults(output(f"path = '{read_only}/token'"))
    assert "is on a read-only file system; mount it writable" in fault


@pytest.mark.parametrize("body", ["owner = 'root'\ngroup = 'root'", "owner = '4294967294'", ""])
def test_owners_may_be_names_or_numbers(place: Place, body: str) -> None:
    """A number may belong to a container, and need not be known on this host."""
    assert place.faults(output(f"path = 'a'\n{body}")) == ()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        *[("owner", "no-such-user"), ("owner", "4294967295"), ("owner", "9" * 5000)],
        *[("group", "no-such-group"), ("group", "-1"), ("group", "4294967295")],
    ],
)
def test_unknown_owners_are_refused(place: Place, key: str, name: str) -> None:
    """The highest number is no account: chown(2) takes it for "leave it as it is"."""
    (fault,) = place.faults(output(f"path = 'a'\n{key} = '{name}'"))
    assert fault.startswith(f"7: apps.a.files[0].{key}: the ")
    assert "does not exist; create it" in fault


def test_unknown_names_in_access_and_api_are_refused(place: Place) -> None:
    """A typo would silently lock a consumer out."""
    text = (
        f"api = {{path = 'gone/api.sock', group = 'no-such-group'}}\n{APP}"
        "[apps.a.access]\nusers = ['root', 'no-such-user']\ngroups = ['no-such-group']\n"
    )
    assert [fault.split(": ")[1] for fault in place.faults(text)] == [
        "api.path",
        "api.group",
        "apps.a.access.users[1]",
        "apps.a.access.groups[0]",
    ]


def test_an_invalid_path_of_the_api_is_one_fault(place: Place) -> None:
    """The directory of the default path, which nobody wrote, is not judged."""
    (fault,) = place.faults(f"api.path = 5\n{APP}")
    assert fault.startswith("1: api.path: 5 is a number; write a path")


def test_the_default_directory_of_the_api_socket_is_reported(shared_place: Place) -> None:
    """A newcomer without root would meet it at the start only, after a check without complaint."""
    directory = ApiTable().path.path.parent
    if directory.exists():
        pytest.skip(f"this host has {directory}")
    del shared_place.environ["RUNTIME_DIRECTORY"]
    (trouble,) = shared_place.faults_of_nobody(APP)
    assert trouble.startswith(f'1: api.path: there is no directory "{directory}" for the API')
    assert shared_place.faults_of_nobody(f"api.path = ''\n{APP}") == ()
    shared_place.environ["LISTEN_FDS"] = "1"
    assert shared_place.faults_of_nobody(APP) == (), "systemd passes the socket on"


@AS_ROOT
def test_root_makes_the_default_directory_of_the_api_socket(place: Place) -> None:
    """So its absence is no trouble on a host where root checks what a unit will run."""
    del place.environ["RUNTIME_DIRECTORY"]
    assert place.faults(APP) == ()
