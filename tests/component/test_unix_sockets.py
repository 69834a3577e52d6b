"""Listening sockets never have too many rights, and replace nothing that is in use."""

import grp
import os
import pwd
import re
import resource
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from refresherd.domain.errors import RefresherdError
from refresherd.domain.model import Ownership
from refresherd.host.unix_sockets import bind
from support.lab import needs, needs_tool

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")
PRIVATE = Ownership(mode=0o600)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the socket is to be."""
    return tmp_path / "api.sock"


BINDER = """
import sys
from pathlib import Path
from refresherd.domain.errors import RefresherdError
from refresherd.domain.model import Ownership
from refresherd.host.unix_sockets import bind
path, owner, finish = sys.argv[1:]
try:
    bound = bind(Path(path), Ownership(mode=0o666, owner=owner))
    if finish == "close":
        bound.close()
    print("closed" if bound.socket.fileno() == -1 else "listens")
except RefresherdError as error:
    print(error)
"""


def binder(path: Path, injected: str, owner: str = "", finish: str = "") -> list[str]:
    """Return the command of a process that binds, with calls that strace has fail or delays."""
    calls = injected.partition(":")[0]
    # Python opens other files while it starts.
    only = ("-P", str(path)) if calls == "openat" else ()
    return [
        *(needs_tool("strace"), "-o", "/dev/null", "-e", f"trace={calls}", *only),
        *("-e", f"inject={injected}", sys.executable, "-c", BINDER, str(path), owner, finish),
    ]


def outcome(path: Path, injected: str, owner: str = "", finish: str = "") -> str:
    """Return what a process prints that binds with an injected fault."""
    done = subprocess.run(
        binder(path, injected, owner, finish), capture_output=True, text=True, check=True
    )
    return done.stdout


def slowed(path: Path, calls: str) -> "subprocess.Popen[str]":
    """Return a process that binds, and pauses for a second before these calls."""
    injected = f"{calls}:delay_enter=1000000"
    return subprocess.Popen(binder(path, injected), stdout=subprocess.PIPE, text=True, umask=0)


def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition to hold."""
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def dialled(path: Path) -> socket.socket:
    """Return a connection."""
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def mode_of(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.lstat().st_mode)


def refused(path: Path, ownership: Ownership = PRIVATE) -> str:
    """Return why a socket could not be bound."""
    with pytest.raises(RefresherdError) as raised:
        bind(path, ownership)
    text = str(raised.value)
    assert text.startswith(f"cannot listen on {path}: ")
    return text.removeprefix(f"cannot listen on {path}: ")


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o000])
@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_the_mode_is_what_was_asked_for_whatever_the_umask(
    path: Path, mode: int, umask: int
) -> None:
    """A daemon inherits its umask from whatever started it."""
    before = os.umask(umask)
    try:
        bound = bind(path, Ownership(mode=mode))
    finally:
        os.umask(before)
    assert mode_of(path) == mode
    assert not bound.socket.getblocking()
    if os.geteuid() == 0 or mode:
        dialled(path).close()
    bound.close()


@pytest.mark.parametrize("late", ["openat", "chmod,fchmodat", "listen"])
def test_nobody_can_connect_before_owner_and_mode_are_right(path: Path, late: str) -> None:
    """A quick reader would get the first token: so no access, and no listening, before that."""
    with slowed(path, late) as binding:
        until(lambda: path.exists() and (late != "listen" or mode_of(path) == 0o666))
        assert late == "listen" or mode_of(path) == 0
        with pytest.raises(OSError, match=r"refused|denied"):
            dialled(path)
        assert binding.communicate()[0] == "listens\n"


@AS_ROOT
@pytest.mark.parametrize("by_name", [True, False])
def test_owner_and_group_may_be_names_or_numbers(path: Path, *, by_name: bool) -> None:
    """Consumers run under accounts of their own."""
    user, group = pwd.getpwuid(1), grp.getgrgid(2)
    names = (user.pw_name, group.gr_name) if by_name else ("1", "2")
    bound = bind(path, Ownership(0o660, *names))
    found = path.lstat()
    assert (found.st_uid, found.st_gid, mode_of(path)) == (1, 2, 0o660)
    bound.close()


@pytest.mark.parametrize(
    ("ownership", "message"),
    [
        (Ownership(owner="no-such-user"), "this host has no user 'no-such-user'; create it or "),
        (Ownership(group="no-such-group"), "this host has no group 'no-such-group'; create"),
        (Ownership(owner=str(2**32 - 1)), "there is no user 4294967295; the last is 4294967294"),
    ],
)
def test_an_unknown_account_is_named(path: Path, ownership: Ownership, message: str) -> None:
    """And the path is left as it was."""
    assert message in refused(path, ownership)
    assert not path.exists()


def test_a_stale_socket_is_replaced(path: Path) -> None:
    """A daemon that was killed leaves one behind, and its next start must not need an operator."""
    killed = bind(path, PRIVATE)
    killed.socket.close()
    bound = bind(path, PRIVATE)
    dialled(path).close()
    bound.close()
    assert not path.exists()


@pytest.mark.parametrize("full", [False, True])
def test_a_live_socket_is_left_alone(path: Path, *, full: bool) -> None:
    """Two daemons on one path would leave consumers to chance."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen(0)
        waiting = [dialled(path)] if full else []
        before = path.lstat().st_ino
        assert refused(path) == "another process answers there; stop it, or name another path"
        assert path.lstat().st_ino == before
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("file", "a file"),
        ("directory", "a directory"),
        ("link", "a symbolic link"),
        ("dangling", "a symbolic link"),
        ("loop", "a symbolic link"),
        ("pipe", "a named pipe"),
    ],
)
def test_what_is_not_a_socket_is_named_and_left_alone(path: Path, kind: str, named: str) -> None:
    """A typing error in the path must not cost anybody a file; a link may lead to another's."""
    target = path.with_name("target")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(target))
    make: dict[str, Callable[[], object]] = {
        "file": lambda: path.write_text("precious"),
        "directory": path.mkdir,
        "link": lambda: path.symlink_to(target),
        "dangling": lambda: path.symlink_to("gone"),
        "loop": lambda: path.symlink_to(path),
        "pipe": lambda: os.mkfifo(path),
    }
    make[kind]()
    before = path.lstat()
    assert refused(path) == f"{named} is there; move it away, or name another path"
    assert os.path.samestat(before, path.lstat())
    assert target.is_socket()


@AS_ROOT
def test_a_device_is_named_and_left_alone(path: Path) -> None:
    """Programs in containers find devices where files are expected."""
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    assert refused(path) == "a device is there; move it away, or name another path"
    assert path.is_char_device()


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_socket_of_another_type_is_another_programs(path: Path, kind: socket.SocketKind) -> None:
    """Such as a system logger's."""
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        if kind == socket.SOCK_SEQPACKET:
            other.listen()
        assert refused(path) == "another process answers there; stop it, or name another path"


@AS_ROOT
@pytest.mark.parametrize("owner", ["", "2"])
def test_a_stale_socket_of_another_user_is_left_to_them(path: Path, owner: str) -> None:
    """Their program is only stopped, and would find its path taken when it starts again."""
    bind(path, Ownership(owner="1")).socket.close()
    message = refused(path, Ownership(owner=owner))
    assert re.fullmatch(r"a socket of user \w+ \(uid 1\) is there; .* remove it, or .*", message)
    assert path.is_socket()


@AS_ROOT
def test_a_stale_socket_of_the_configured_owner_is_replaced(path: Path) -> None:
    """A daemon that was killed had given it to that user."""
    bind(path, Ownership(owner="1")).socket.close()
    bound = bind(path, Ownership(owner="1"))
    dialled(path).close()
    bound.close()


def test_a_missing_directory_is_named_with_its_remedy(tmp_path: Path) -> None:
    """After a reboot /run is empty."""
    message = refused(tmp_path / "run" / "api.sock")
    assert message == (
        f"there is no directory {tmp_path / 'run'}; create it, have systemd do so "
        "(RuntimeDirectory=), or write another path"
    )


def test_a_path_through_a_file_is_refused(tmp_path: Path) -> None:
    """Whatever the kernel's error is, the operator reads one line."""
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file" / "api.sock") == "Not a directory"


def test_a_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    """The kernel's limit is lower than anybody expects."""
    message = refused(tmp_path / ("x" * 100) / "api.sock")
    assert message == "the path is too long; it may have at most 107 bytes"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("EACCES", "Permission denied; let the daemon's user do that"),
        ("EPERM", "Operation not permitted; let the daemon's user do that; to change owners"),
        ("EROFS", "its filesystem is read-only; mount it writable"),
        ("EADDRINUSE", "something else has just been put there; move it away, or name"),
        ("EIO", "Input/output error"),
    ],
)
def test_a_failed_call_is_explained_with_its_remedy(path: Path, error: str, message: str) -> None:
    """The tests may run as root, whom the kernel refuses little, so strace injects the error."""
    assert outcome(path, f"bind:error={error}").startswith(f"cannot listen on {path}: {message}")


@pytest.mark.parametrize("call", ["connect", "unlinkat"])
def test_a_stale_socket_that_cannot_be_removed_is_an_error(path: Path, call: str) -> None:
    """For example, another user's, in a directory of that user."""
    bind(path, PRIVATE).socket.close()
    message = f"cannot listen on {path}: Permission denied; let the daemon's user do that"
    assert outcome(path, f"{call}:error=EACCES").startswith(message)


def without_proc(path: Path, owner: str = "", script: str = BINDER) -> str:
    """Return what a binder prints on a host whose /proc is hidden."""
    unshare = needs_tool("unshare")
    allowed = subprocess.run([unshare, "-m", "true"], check=False, capture_output=True)
    needs(allowed.returncode == 0, "the right to mount (CAP_SYS_ADMIN)")
    hide = [unshare, "-m", "sh", "-c", 'mount -t tmpfs none /proc; exec "$@"', "sh"]
    command = [*hide, sys.executable, "-c", script, str(path), owner, ""]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@AS_ROOT
@pytest.mark.parametrize("owner", ["", "1"])
def test_a_socket_is_bound_without_proc(path: Path, owner: str) -> None:
    """Some containers hide it, and an app's socket must work there as well."""
    said = without_proc(path, owner)
    if "fchmodat2" in said:
        pytest.skip("takes Linux 6.6")
    assert said == "listens\n"
    assert mode_of(path) == 0o666
    assert path.lstat().st_uid == int(owner or 0)


@AS_ROOT
def test_a_socket_that_needs_proc_says_so(path: Path) -> None:
    """An older kernel cannot set the mode without it, and its directory is not to blame."""
    # strace 6.1 does not know the call, so the binder asks for one that no kernel has.
    older = f"from refresherd.host import socket_files; socket_files.FCHMODAT2 = 9999\n{BINDER}"
    said = without_proc(path, script=older)
    assert "its mode cannot be set, since /proc is not mounted" in said
    assert "there is no directory" not in said
    assert not path.exists()


@AS_ROOT
def test_a_socket_that_cannot_be_handed_over_is_not_left_behind(path: Path) -> None:
    """A socket with half of its rights would serve the wrong clients."""
    message = f"cannot listen on {path}: Operation not permitted; let the"
    assert outcome(path, "chown,fchownat:error=EPERM", owner="1").startswith(message)
    assert not path.exists()


@AS_ROOT
def test_a_socket_of_the_daemons_own_is_not_handed_over(path: Path) -> None:
    """A hardened unit forbids every chown(2), and `group` may well name the daemon's own group."""
    assert outcome(path, "chown,fchownat:error=EPERM", owner="0") == "listens\n"


@pytest.mark.parametrize("moment", ["bind:delay_exit", "openat:delay_enter"])
@pytest.mark.parametrize("planted", ["file", "socket"])
def test_a_file_that_takes_the_sockets_place_keeps_its_rights(
    path: Path, planted: str, moment: str
) -> None:
    """Otherwise any writer to the directory could make a root daemon give any file away.

    It may come before the daemon has looked at its new socket, or after.
    """
    command = binder(path, f"{moment}=1000000")
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, umask=0) as binding,
        socket.socket(socket.AF_UNIX) as other,
    ):
        until(path.exists)
        time.sleep(0.2)  # before `openat` the socket has been looked at by now
        path.rename(path.with_suffix(".old"))
        if planted == "file":
            path.touch()
        else:
            other.bind(str(path))
        path.chmod(0o600)
        message = binding.communicate()[0]
    assert message.startswith(f"cannot listen on {path}: something else has just been put there")
    assert mode_of(path) == 0o600


def test_a_lack_of_descriptors_is_an_error_like_others(path: Path) -> None:
    """An unexpected exception would count as a bug and end the app's tasks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with path.with_name("lowest").open("w") as lowest:
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest.fileno(), hard))
        try:
            message = refused(path)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert message.startswith("Too many open files; raise the limit on open files")


def test_closing_removes_the_path(path: Path) -> None:
    """A path that is left behind would have to be probed at the next start."""
    bound = bind(path, PRIVATE)
    assert bound.in_place()
    bound.close()
    assert not path.exists()
    assert not bound.in_place()


def test_closing_leaves_anothers_socket_alone(path: Path) -> None:
    """An operator removed ours and started another daemon: that one must go on."""
    bound = bind(path, PRIVATE)
    path.unlink()
    other = bind(path, PRIVATE)
    assert not bound.in_place()
    bound.close()
    assert other.in_place()
    dialled(path).close()
    other.close()


def test_closing_follows_no_link_that_replaces_the_directory(path: Path) -> None:
    """Whoever may change the path could otherwise have the daemon of root remove any file."""
    directory, others = path.parent / "own", path.parent / "others"
    directory.mkdir()
    others.mkdir()
    (others / path.name).write_text("precious")
    injected = "unlinkat:delay_enter=1000000"
    command = binder(directory / path.name, injected, finish="close")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as closing:
        until(lambda: (directory / path.name).exists() and mode_of(directory / path.name) == 0o666)
        time.sleep(0.3)  # it has looked at its socket by now, and is about to remove it
        directory.rename(path.parent / "moved")
        directory.symlink_to(others)
        assert closing.communicate()[0] == "closed\n"
    assert (others / path.name).read_text() == "precious"


def stale_socket(path: Path) -> None:
    """Leave a socket there that nobody serves."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (lambda path: path.mkdir(), "somebody put a directory in its place"),
        (lambda path: path.write_text("precious"), "somebody put a file in its place"),
        (os.mkfifo, "somebody put a named pipe in its place"),
        (lambda path: path.symlink_to(f"{path}.old"), "somebody put a symbolic link in its place"),
        (stale_socket, f"somebody (uid {os.getuid()}) put another socket in its place"),
        (lambda _: None, "somebody removed it"),
    ],
    ids=["directory", "file", "pipe", "link", "socket", "nothing"],
)
def test_what_takes_a_sockets_place_is_told_and_outlives_it(
    path: Path, put: Callable[[Path], object], message: str
) -> None:
    """It is somebody else's, even if it leads to the daemon's own socket."""
    bound = bind(path, PRIVATE)
    path.rename(f"{path}.old")
    put(path)
    before = path.lstat() if message != "somebody removed it" else None
    assert bound.alteration() == message
    assert not bound.restore("its unit")
    bound.close()
    assert before is None or os.path.samestat(before, path.lstat())


def test_closing_survives_a_path_that_cannot_be_removed(path: Path) -> None:
    """The daemon may have given up the right to do so; a stop must go on."""
    assert outcome(path, "unlinkat:error=EACCES", finish="close") == "closed\n"
    assert path.exists()


def test_many_may_wait_to_be_accepted(path: Path) -> None:
    """A client that finds the queue full fails at once, and 1,000 workers may start together."""
    limit = int(Path("/proc/sys/net/core/somaxconn").read_text())
    bound = bind(path, PRIVATE)
    waiting = [dialled(path) for _ in range(min(limit, 1000))]
    for connection in waiting:
        connection.close()
    bound.close()
