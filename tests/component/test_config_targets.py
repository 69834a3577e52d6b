"""Where outputs go: to directories that can be written, by paths that can be replaced."""

import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from refresherd.config.output_paths import check_output_paths, mount_points
from refresherd.config.parse import parse_settings
from refresherd.config.source import read_toml
from support.configurations import DSM, Place

APP = f"{DSM}[apps.a]\napi_key_file = 'payments.key'\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a directory with an API key in it."""
    return Place(tmp_path)


def output(body: str, kind: str = "files") -> str:
    """Return a configuration with one output, whose keys begin on line 6."""
    return f"{APP}[[apps.a.{kind}]]\n{body}\n"


def test_an_output_may_be_new_or_replace_what_it_was(place: Place) -> None:
    """A file, a link to one that a rename replaces, or a socket that a killed daemon left."""
    place.write("old", "")
    (place.directory / "link").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place.directory / "old.sock"))
    for name in ("new", "old", "link"):
        assert place.faults(output(f"path = '{name}'")) == ()
    for name in ("new", "old.sock"):
        assert place.faults(output(f"path = '{name}'", "sockets")) == ()


@pytest.mark.parametrize(
    ("kind", "path", "said"),
    [
        ("files", "gone/token", "does not exist; create it with mkdir -p"),
        ("files", "payments.key/token", "is not a directory"),
        ("files", "directory", "is a directory; name a file in it"),
        ("files", "loop/token", "cannot be accessed: Too many levels"),
        ("files", "x" * 300, "cannot be accessed: File name too long"),
        ("files", "pipe", "exists and is not a regular file"),
        ("sockets", "old", "exists and is not a socket"),
        ("sockets", "x" * 107, "and a socket's may have 107"),
        ("sockets", "gone/sock", "does not exist; create it with mkdir -p"),
    ],
)
def test_what_cannot_be_replaced_is_refused(place: Place, kind: str, path: str, said: str) -> None:
    """Before the first token is there and nowhere to be put."""
    (place.directory / "directory").mkdir()
    (place.directory / "loop").symlink_to("loop")
    os.mkfifo(place.directory / "pipe")
    place.write("old", "")
    (fault,) = place.faults(output(f"path = '{path}'", kind))
    assert fault.startswith(f"6: apps.a.{kind}[0].path: ")
    assert said in fault


def test_devices_are_never_replaced(place: Place) -> None:
    """As root a rename over /dev/null would succeed, and break the host."""
    (fault,) = place.faults(output("path = '/dev/null'"))
    allowed = os.access("/dev", os.W_OK)
    assert ("is not a regular file" if allowed else "is not writable") in fault


def test_a_file_that_is_mounted_is_refused(place: Place) -> None:
    """A rename cannot replace it (EBUSY), and its consumer would keep the old inode."""
    target = place.write("mounted token", "")
    (place.directory / "link").symlink_to(place.directory)
    text = output("path = 'link/mounted token'")
    settings = parse_settings(read_toml(place.file, text), place.file)
    (fault,) = check_output_paths(settings, {}, mounts=frozenset({str(target.resolve())}))
    assert "is a mount point, which cannot be replaced; mount its directory" in fault.message


def test_mount_points_are_the_kernels(tmp_path: Path) -> None:
    """Files included, and spaces undone."""
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        "40 22 8:1 /srv/a\\040b /run/a\\040b/x\\134y rw shared:1 - ext4 /dev/sda1 rw\n"
        "\n"
    )
    assert mount_points(table) == {"/", "/run/a b/x\\y"}
    assert mount_points(tmp_path / "gone") == frozenset()
    # Not "/": in a chroot the root is no mount point.
    assert "/proc" in mount_points()


def test_a_directory_that_may_not_be_written_is_refused(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may write everywhere, so the kernel's refusal is played."""
    monkeypatch.setattr("refresherd.config.output_paths.os.access", lambda *_: False)
    (fault,) = place.faults(output("path = 'token'"))
    assert f"is not writable for this user (uid {os.getuid()})" in fault


def test_where_systemd_listens_nobody_has_to_write(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With DynamicUser= a socket is passed on whose directory is root's, at a reload as well."""
    monkeypatch.setattr("refresherd.config.output_paths.os.access", lambda *_: False)
    path = place.directory / "a.sock"
    with socket.socket(socket.AF_UNIX) as server, socket.create_server(("127.0.0.1", 0)):
        server.bind(str(path))
        (fault,) = place.faults(output("path = 'a.sock'", "sockets"))
        assert "is not writable" in fault
        server.listen()
        assert place.faults(output("path = 'a.sock'", "sockets")) == ()
        (fault,) = place.faults(output("path = 'b.sock'", "sockets"))
        assert "is not writable" in fault


def test_a_read_only_file_system_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root is told as well, whom modes do not stop."""
    read_only = SimpleNamespace(f_flag=os.ST_RDONLY)
    monkeypatch.setattr("refresherd.config.output_paths.os.statvfs", lambda _: read_only)
    (fault,) = place.faults(output("path = 'token'"))
    assert "is on a read-only file system; mount it writable" in fault


@pytest.mark.parametrize("body", ["owner = 'root'\ngroup = 'root'", "owner = '4294967294'", ""])
def test_owners_are_accounts_or_numbers(place: Place, body: str) -> None:
    """A container's user need not be known here."""
    assert place.faults(output(f"path = 'a'\n{body}")) == ()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        *[("owner", "no-such-user"), ("owner", "4294967295"), ("owner", "9" * 5000)],
        *[("group", "no-such-group"), ("group", "-1"), ("group", "4294967295")],
    ],
)
def test_unknown_owners_are_refused(place: Place, key: str, name: str) -> None:
    """The highest number means "leave it" to the kernel."""
    (fault,) = place.faults(output(f"path = 'a'\n{key} = '{name}'"))
    assert fault.startswith(f"7: apps.a.files[0].{key}: the ")
    assert "does not exist; create it" in fault


def test_unknown_names_in_access_and_api_are_refused(place: Place) -> None:
    """A typo would lock a consumer out without a word."""
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
