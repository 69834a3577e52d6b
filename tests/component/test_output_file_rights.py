"""Owner, group and mode of a token's file: exact, and never looser even for a moment."""

# The event loop of these tests has nothing else to do while they look at a file.

import grp
import os
import pwd
import signal
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from refresherd.domain.errors import OutputError
from refresherd.domain.model import Ownership
from refresherd.host.atomic_file import hand_over
from support.file_writer import WRITER, beside, held, output, ran, token
from support.lab import needs_root, needs_tool

USER = "daemon"
"""The Linux Standard Base requires this account and its group."""

NOBODY = 65534


@dataclass(frozen=True, slots=True)
class Rights:
    """A file's owner, group and mode."""

    mode: int
    uid: int
    gid: int

    @classmethod
    def of(cls, path: Path) -> "Rights":
        """Return a file's rights."""
        status = path.lstat()
        return cls(status.st_mode & 0o7777, status.st_uid, status.st_gid)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path for a token."""
    return tmp_path / "payments.token"


@pytest.fixture(params=[0o000, 0o022, 0o777])
def _umask(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set the process's umask."""
    usual = os.umask(request.param)
    yield
    os.umask(usual)


@pytest.mark.usefixtures("_umask")
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o000, 0o666, 0o2640])
async def test_the_mode_is_exact_whatever_the_umask(path: Path, mode: int) -> None:
    """A stray umask must neither lock the consumer out nor let everybody in."""
    target = output(path, Ownership(mode=mode))
    await target.prepare()
    await target.put(token())
    assert Rights.of(path) == Rights(mode, os.geteuid(), os.getegid())


@pytest.mark.parametrize(
    ("owner", "group"),
    [(USER, USER), (USER, ""), ("", USER), ("4242", "4343"), ("0", "4343"), ("4294967294", "")],
)
async def test_owner_and_group_are_exact_by_name_and_by_number(
    path: Path, owner: str, group: str
) -> None:
    """The service that reads the token runs as a different user from the daemon."""
    needs_root()
    numbers = {USER: (pwd.getpwnam(USER).pw_uid, grp.getgrnam(USER).gr_gid), "": (0, 0)}
    uid = numbers[owner][0] if owner in numbers else int(owner)
    gid = numbers[group][1] if group in numbers else int(group)
    target = output(path, Ownership(0o6640, owner, group))
    await target.prepare()
    await target.put(token())
    assert Rights.of(path) == Rights(0o6640, uid, gid)


async def test_the_next_token_restores_changed_rights(path: Path) -> None:
    """Consumers rely on the configuration, whatever somebody did to the file."""
    target = output(path, Ownership(mode=0o640))
    await target.put(token(1))
    path.chmod(0o666)
    await target.put(token(2))
    assert Rights.of(path).mode == 0o640


@pytest.mark.parametrize(
    ("ownership", "complaint"),
    [
        (Ownership(owner="no-such"), "this host has no user 'no-such'; create it or name another"),
        (Ownership(group="no-such"), "this host has no group 'no-such'; create it or name another"),
        (Ownership(owner="no\0such"), "this host has no user 'no\\x00such'; create it or"),
        (Ownership(owner="4294967295"), "there is no user 4294967295; the last is 4294967294"),
        (Ownership(group="9" * 30), f"there is no group {'9' * 30}; the last is 4294967294"),
        (Ownership(owner="²"), "this host has no user '²'"),
    ],
)
async def test_an_unknown_owner_is_an_error_and_the_old_token_stays(
    path: Path, ownership: Ownership, complaint: str
) -> None:
    """Writing a token for the wrong account would be a leak, removing it an outage."""
    await output(path).put(token(1))
    target = output(path, ownership)
    for refused in (target.prepare(), target.put(token(2))):
        with pytest.raises(OutputError) as caught:
            await refused
        assert str(caught.value).startswith(f"{path}: {complaint}")
    assert held(path) == 1
    assert beside(path) == []


@pytest.mark.parametrize(
    ("ownership", "complaint"),
    [
        (Ownership(mode=0o640), "t: cannot set mode 0640: Bad file descriptor"),
        (Ownership(owner="7"), "t: cannot give it to user 7: Bad file descriptor"),
        (Ownership(owner="7", group="7"), "t: cannot give it to user 7 and group 7: Bad file"),
    ],
)
def test_the_message_names_the_right_that_cannot_be_set(
    path: Path, ownership: Ownership, complaint: str
) -> None:
    """The operator sees which of the three calls the system refused."""
    path.touch()
    looking = os.open(path, os.O_PATH)
    with pytest.raises(OutputError, match=f"^{complaint}"):
        hand_over(looking, "t", ownership)
    os.close(looking)


@pytest.mark.parametrize(
    ("verb", "options", "complaint"),
    [
        ("put", ("--owner", "0"), "cannot give it to user 0: Operation not permitted; let the"),
        ("prepare", ("--owner", "0", "--group", "0"), "cannot give it to user 0 and group 0: Oper"),
    ],
)
def test_a_daemon_that_may_not_change_owners_says_so_at_the_start(
    common: Path, verb: str, options: tuple[str, ...], complaint: str
) -> None:
    """The operator learns what the daemon's user lacks before any login."""
    common.chmod(0o777)
    (message,) = attempted(common / "token", verb, *options)
    assert message.startswith(f"{common}/token: {complaint}")
    assert message.endswith("install the drop-in hand-over.conf as its comments say")
    assert list(common.iterdir()) == []


def test_the_message_for_an_unwritable_directory_has_a_remedy(common: Path) -> None:
    """A daemon that is not root often may not write to its output's directory."""
    (message,) = attempted(common / "token", "put")
    assert message == (
        f"{common}/token: cannot write it: Permission denied; "
        "let the daemon's user write to its directory"
    )


@pytest.fixture
def common() -> Iterator[Path]:
    """Yield a directory of root that others can reach, unlike those below pytest's own."""
    needs_root()
    with TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def attempted(path: Path, verb: str, *options: str) -> list[str]:
    """Return the lines printed by a writer that is not root."""
    return ran([*WRITER, *options, "--user", str(NOBODY), str(path), verb])


@pytest.mark.parametrize(("umask", "first"), [("0000", 0o600), ("0777", 0o000)])
def test_nobody_could_read_the_token_before_its_rights_were_exact(
    tmp_path: Path, umask: str, first: int
) -> None:
    """The writer is stopped after each call that creates a file, fills it or changes its rights."""
    needs_root()
    path = tmp_path / "token"
    account = pwd.getpwnam(USER)
    options = ("--umask", umask, "--mode", "0640", "--owner", USER, "--group", USER)
    seen = states_between_calls(tmp_path, [*WRITER, *options, str(path), "put"])
    wanted = Rights(0o640, account.pw_uid, account.pw_gid)
    assert seen[path.name] == [wanted]
    seen.pop(path.name)
    ((temporary, states),) = seen.items()
    assert temporary.startswith(".token.")
    given = Rights(first, account.pw_uid, account.pw_gid)
    assert states == [Rights(first, 0, 0), given, wanted]


CALLS = (
    "openat,write,fchown,fchownat,fchmod,fchmodat,fsync,renameat,renameat2,linkat,unlinkat,"
    "?open,?creat,?chown,?lchown,?chmod,?rename,?link,?unlink"
)
"""The calls after which a file can be there, or its content or rights be others.

Those with a question mark are missing on some architectures.
"""


def states_between_calls(directory: Path, command: Sequence[str]) -> dict[str, list[Rights]]:
    """Run a program; return the states of each file in a directory, in order.

    strace stops the program after each call, so that no state is missed on a busy machine.
    """
    reading, writing = os.pipe()
    strace = (
        *(needs_tool("strace"), "-qq", "-f", "-o", f"/dev/fd/{writing}", "-e", f"trace={CALLS}"),
        *("-e", "signal=SIGSTOP", f"--inject={CALLS}:signal=SIGSTOP"),
    )
    seen: dict[str, list[Rights]] = {}
    with subprocess.Popen(
        [*strace, *command], stdout=subprocess.DEVNULL, pass_fds=[writing]
    ) as process:
        os.close(writing)
        stopping = ""
        with os.fdopen(reading, encoding="utf-8", errors="replace") as log:
            for line in log:
                thread, _, event = line.partition(" ")
                if event.strip().startswith("--- SIGSTOP "):
                    stopping = thread
                # The other threads stop too, and report it, perhaps after they went on again.
                elif thread == stopping and event.strip() == "--- stopped by SIGSTOP ---":
                    stopping = ""
                    note(directory, seen)
                    os.kill(int(thread), signal.SIGCONT)
    note(directory, seen)
    assert process.returncode == 0
    return seen


def note(directory: Path, seen: dict[str, list[Rights]]) -> None:
    """Add the present state of each file in a directory, if it is a new one."""
    for entry in directory.iterdir():
        states = seen.setdefault(entry.name, [])
        rights = Rights.of(entry)
        if rights not in states[-1:]:
            states.append(rights)
