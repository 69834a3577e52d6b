"""Full, read-only, mounted and failing filesystems: the old token stays, and an error says why."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from support.file_writer import LENGTH, WRITER, beside, held, ran
from support.lab import needs, needs_root, needs_tool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path for a token, in a directory that something may be mounted on."""
    (tmp_path / "run").mkdir()
    return tmp_path / "run" / "payments.token"


def mounted(path: Path, script: str) -> list[str]:
    """Run a shell script with mounts of its own; return the lines that it printed.

    It knows the output as $TOKEN, its directory as $DIR, a `writer` to try on it, and
    `look`, which prints what the token's file begins with and what is beside it.
    """
    needs_root()
    unshare = needs_tool("unshare")
    allowed = subprocess.run([unshare, "-m", "true"], check=False, capture_output=True)
    needs(allowed.returncode == 0, "the right to mount (CAP_SYS_ADMIN)")
    prelude = f"""
        set -e
        TOKEN={shlex.quote(str(path))}; DIR={shlex.quote(str(path.parent))}
        writer() {{ {shlex.join(WRITER)} "$TOKEN" "$@"; }}
        look() {{ head -c 7 "$TOKEN"; echo; ls -A "$DIR"; }}
    """
    return ran([unshare, "-m", "sh", "-c", prelude + script])


def test_a_full_filesystem_keeps_the_old_token(path: Path) -> None:
    """A full disk must not cost the consumers the token that they have."""
    lines = mounted(
        path,
        """
        mount -t tmpfs -o size=256k none "$DIR"
        writer put
        head -c 260000 /dev/zero >"$DIR/ballast" || true
        writer put:2 prepare
        look
        rm "$DIR/ballast"
        writer put:2
        look
        """,
    )
    full = f"{path}: cannot write it: No space left on device; free space, or inodes, on its"
    assert lines[0] == "done"
    assert all(line.startswith(full) for line in lines[1:3])
    assert lines[3:] == ["0000001", "ballast", path.name, "done", "0000002", path.name]


def test_a_filesystem_without_inodes_keeps_the_old_token(path: Path) -> None:
    """There may be gigabytes of space, but no new file; the message says why."""
    lines = mounted(
        path,
        """
        mount -t tmpfs -o nr_inodes=3 none "$DIR"
        writer put
        touch "$DIR/last"
        writer prepare put:2
        look
        """,
    )
    full = f"{path}: cannot write it: No space left on device; free space, or inodes, on its"
    assert all(line.startswith(full) for line in lines[1:3])
    assert lines[3:] == ["0000001", "last", path.name]


def test_a_read_only_filesystem_is_an_error_until_it_is_writable(path: Path) -> None:
    """The kernel remounts a failing disk read-only; a unit's ProtectSystem= does the same."""
    lines = mounted(
        path,
        """
        mount -t tmpfs none "$DIR"
        writer put
        mount -o remount,ro "$DIR"
        writer prepare put:2 remove
        look
        mount -o remount,rw "$DIR"
        writer put:2
        look
        """,
    )
    reason = "Read-only file system; mount its filesystem writable (in a unit: ReadWritePaths=)"
    assert lines[1:4] == [
        f"{path}: cannot write it: {reason}",
        f"{path}: cannot write it: {reason}",
        f"{path}: cannot remove it: {reason}",
    ]
    assert lines[4:] == ["0000001", path.name, "done", "0000002", path.name]


@pytest.mark.parametrize("source", ["$DIR/source", "/dev/null"])
def test_a_mounted_file_is_refused(path: Path, source: str) -> None:
    """Docker's `-v file:file`: it cannot be replaced inside, nor does it follow outside.

    Bound from the same filesystem it has the same device number as its directory.
    """
    lines = mounted(
        path,
        f"""
        echo old >"$DIR/source"
        touch "$TOKEN"
        mount --bind "{source}" "$TOKEN"
        writer prepare put:2 remove
        ls -A "$DIR"
        cat "$DIR/source"
        """,
    )
    remedy = "it is a mount point: mount its directory instead"
    assert lines[:3] == [
        f"{path}: cannot write it: Device or resource busy; {remedy}",
        f"{path}: cannot write it: Device or resource busy; {remedy}",
        f"{path}: cannot remove it: Device or resource busy; {remedy}",
    ]
    assert lines[3:] == [path.name, "source", "old"]


def test_a_token_in_a_directory_that_is_a_mount_is_written(path: Path) -> None:
    """The error for a mounted file advises to do this."""
    lines = mounted(path, 'mount --bind "$DIR" "$DIR"; writer prepare put; look')
    assert lines == ["done", "done", "0000001", path.name]


def test_a_token_is_written_without_proc(path: Path) -> None:
    """Without /proc mounts cannot be recognised beforehand, but the write fails on its own."""
    lines = mounted(path, "mount -t tmpfs none /proc; writer prepare put; look")
    assert lines == ["done", "done", "0000001", path.name]


OTHER_USER = "1" if os.geteuid() != 1 else "2"


def injected(path: Path, fault: str, *commands: str, owner: str | None = None) -> list[str]:
    """Run a writer in which strace lets a system call fail; return the lines that it printed."""
    strace = (needs_tool("strace"), "-qq", "-f", "-o", "/dev/null", f"--inject={fault}")
    return ran([*strace, *WRITER, "--owner", owner or str(os.geteuid()), str(path), *commands])


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("write:error=ENOSPC:when=1", "write it: No space left on device"),
        ("write:error=EDQUOT:when=1", "write it: Disk quota exceeded; free some of the quota"),
        ("fchmod:error=EPERM", "set mode 0600: Operation not permitted"),
        ("fsync:error=EIO:when=1", "write it: Input/output error; check the kernel log"),
        ("renameat,renameat2:error=EIO", "write it: Input/output error"),
        ("renameat,renameat2:error=EPERM", "write it: Operation not permitted"),
    ],
)
def test_a_failing_call_keeps_the_old_token_and_leaves_nothing(
    path: Path, fault: str, complaint: str
) -> None:
    """Whichever call fails, consumers have a whole token and the directory stays clean."""
    path.write_text("old")
    (message,) = injected(path, fault, "put")
    assert message.startswith(f"{path}: cannot {complaint}")
    assert path.read_text() == "old"
    assert beside(path) == []


def test_a_file_that_cannot_be_handed_over_keeps_the_old_token(path: Path) -> None:
    """A token with half of its rights would be read by the wrong users."""
    path.write_text("old")
    (message,) = injected(path, "fchown:error=EPERM", "put", owner=OTHER_USER)
    complaint = f"cannot give it to user {OTHER_USER}: Operation not permitted"
    assert message.startswith(f"{path}: {complaint}")
    assert path.read_text() == "old"
    assert beside(path) == []


def test_a_file_of_the_daemons_own_is_not_handed_over(path: Path) -> None:
    """A hardened unit forbids every fchown(2), and `group` may well name the daemon's own group."""
    assert injected(path, "fchown:error=EPERM", "put") == ["done"]
    assert path.stat().st_uid == os.geteuid()


def test_a_temporary_file_that_cannot_be_removed_is_removed_later(path: Path) -> None:
    """The operator sees the first error, and the next start removes the file."""
    fault = "renameat,renameat2,unlinkat:error=EIO:when=1"
    (message,) = injected(path, fault, "put")
    assert message.startswith(f"{path}: cannot write it: Input/output error")
    assert len(beside(path)) == 1
    assert ran([*WRITER, str(path), "prepare"]) == ["done"]
    assert beside(path) == []


def test_a_short_write_is_continued(path: Path) -> None:
    """The call write(2) may write less than it was given; the rest must follow."""
    assert injected(path, "write:retval=8:when=1", "put") == ["done"]
    # strace only says that eight bytes were written.
    assert len(path.read_text()) == 8 * LENGTH - 8


@pytest.mark.parametrize(
    ("error", "message"),
    [("EINVAL", "done"), ("EIO", "cannot write it: Input/output error; check the kernel log")],
)
def test_a_directory_that_cannot_be_synced_is_an_error_unless_none_can(
    path: Path, error: str, message: str
) -> None:
    """Some network filesystems have no fsync for directories, and are accepted nevertheless."""
    (line,) = injected(path, f"fsync:error={error}:when=2", "put")
    assert message in line
    assert held(path) == 1


def test_a_removal_that_was_not_synced_is_done_again(path: Path) -> None:
    """Otherwise a power cut could bring a dead token back."""
    path.write_text("dead")
    failed, repeated = injected(path, "fsync:error=EIO:when=1", "remove", "remove")
    assert failed.startswith(f"{path}: cannot remove it: Input/output error")
    assert repeated == "done"
    assert not path.exists()


def test_a_named_pipe_or_a_device_is_not_replaced(path: Path) -> None:
    """Root could replace /dev/null, which every program of the host needs."""
    os.mkfifo(path)
    (line,) = ran([*WRITER, str(path), "prepare"])
    assert line.startswith(f"{path}: cannot write it: File exists; it is not a regular file: ")
    assert path.is_fifo()
