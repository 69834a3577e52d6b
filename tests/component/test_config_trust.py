"""Who else may change what the daemon trusts, and who cannot reach a token that is for them."""

import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from support.configurations import DSM, NOBODY, Place
from support.lab import needs, needs_tool
from support.other_users import AS_ROOT, reachable
from support.programs import REFRESHERD

ACL = struct.pack(
    "<I" + "HHI" * 5,
    2,  # the version, then a tag, permissions and an id for each entry: acl(5)
    *(1, 7, 0xFFFFFFFF, 4, 0, 0xFFFFFFFF),
    *(8, 1, 1, 16, 1, 0xFFFFFFFF, 32, 0, 0xFFFFFFFF),
)
"""Lets the group 1 enter a directory as well."""

APP = f"{DSM}[apps.a]\napi_key_file = 'keys/a.key'\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a directory with an API key in a directory below it."""
    place = Place(tmp_path)
    (tmp_path / "keys").mkdir()
    (tmp_path / "payments.key").rename(tmp_path / "keys" / "a.key")
    (tmp_path / "run").mkdir()
    return place


@pytest.fixture
def shared_place() -> Iterator[Place]:
    """Yield a directory that other users may enter but not write to."""
    with reachable() as directory:
        yield Place(directory)


def warnings(place: Place, text: str) -> list[str]:
    """Return the warnings of a configuration without faults, without the file's name."""
    assert place.faults(text) == ()
    return [
        line.removeprefix(f"{place.file}:").replace("warning: ", "")
        for line in place.load(text).warnings
    ]


def output(path: str, more: str = "", kind: str = "files") -> str:
    """Return a configuration with an output, whose keys begin on line 6."""
    return f"{APP}[[apps.a.{kind}]]\npath = '{path}'\n{more}"


def test_what_only_the_daemons_user_may_change_needs_no_word(place: Place) -> None:
    """As after `mkdir -m 700` with a umask of 022."""
    assert warnings(place, output("run/token")) == []


@pytest.mark.parametrize("umask", [0o002, 0o007])
def test_a_group_of_the_users_own_is_no_stranger(place: Place, umask: int) -> None:
    """Where everybody has a group of their own, files are writable for it by default."""
    for path in (place.directory, place.directory / "keys", place.directory / "run"):
        path.chmod(0o777 & ~umask)
    text = output("run/token")
    place.file.write_text(text)
    place.file.chmod(0o666 & ~umask)
    assert warnings(place, text) == []


@pytest.mark.parametrize("mode", [0o666, 0o602])
def test_a_configuration_that_every_user_may_write_to_is_refused(place: Place, mode: int) -> None:
    """It names commands that the daemon runs, as root for some, and who gets tokens."""
    place.file.touch()
    place.file.chmod(mode)
    (fault,) = place.faults(output("run/token"))
    assert fault == (
        f'1: every user (mode {mode:04o}) may write to "{place.file}"; run chmod go-w '
        f'"{place.file}"'
    )


@AS_ROOT
def test_a_configuration_of_another_user_or_group_is_refused(place: Place) -> None:
    """Each of them could have root's daemon run any command."""
    place.file.touch()
    os.chown(place.file, 1, -1)
    (fault,) = place.faults(output("run/token"))
    assert "belongs to user daemon (uid 1), who may change it; change its owner, or run" in fault
    os.chown(place.file, 0, 1)
    place.file.chmod(0o664)
    (fault,) = place.faults(output("run/token"))
    assert fault.startswith("1: the group daemon (mode 0664) may write to")
    place.file.chmod(0o644)
    assert place.faults(output("run/token")) == ()


@AS_ROOT
def test_a_daemon_without_privileges_may_own_its_configuration(shared_place: Place) -> None:
    """So may root, whoever runs the daemon."""
    for owner in (NOBODY, 0):
        shared_place.file.touch()
        os.chown(shared_place.file, owner, owner)
        os.chown(shared_place.directory / "payments.key", NOBODY, NOBODY)
        text = f"{DSM}[apps.a]\napi_key_file = 'payments.key'\n"
        assert shared_place.faults_of_nobody(text) == ()


@pytest.mark.parametrize("above", [".", ".."])
def test_a_directory_in_which_every_user_may_replace_the_configuration(
    place: Place, above: str
) -> None:
    """Whether it is its own or one further up; with the sticky bit, as /tmp has it, it is safe."""
    nested = Place(place.directory / "run")
    text = f"{DSM}[apps.a]\napi_key_file = 'payments.key'\n"
    directory = (nested.directory / above).resolve()
    directory.chmod(0o777)
    faults = nested.faults(text)
    assert any(
        f'every user (mode 0777) may write to "{directory}", and so replace' in fault
        for fault in faults
    )
    directory.chmod(0o1777)
    assert nested.faults(text) == ()


def test_a_link_that_others_may_replace_is_as_good_as_the_file(place: Place) -> None:
    """Every name on the way counts."""
    (place.directory / "open").mkdir()
    (place.directory / "open" / "link").symlink_to(place.directory / "keys")
    text = f"{DSM}[apps.a]\napi_key_file = 'open/link/a.key'\n"
    assert place.faults(text) == ()
    (place.directory / "open").chmod(0o777)
    (fault,) = place.faults(text)
    assert fault.startswith("4: apps.a.api_key_file: every user (mode 0777) may write to ")


def test_a_directory_of_keys_that_every_user_may_write_to_is_refused(place: Place) -> None:
    """A private key file does not help where it can be replaced."""
    (place.directory / "keys").chmod(0o777)
    (fault,) = place.faults(output("run/token"))
    assert fault.startswith("4: apps.a.api_key_file: every user (mode 0777) may write to ")
    assert "and so replace" in fault


@AS_ROOT
@pytest.mark.parametrize("whose", ["keys/a.key", "keys"])
def test_a_key_of_another_user_is_a_warning(place: Place, whose: str) -> None:
    """The configuration names it, and so trusts that user."""
    os.chown(place.directory / whose, 1, -1)
    (warning,) = warnings(place, output("run/token"))
    assert "apps.a.api_key_file: " in warning
    assert "belongs to user daemon (uid 1), who may" in warning


def checked_with_mounts(place: Place, mounts: str) -> "subprocess.CompletedProcess[str]":
    """Check a configuration after mounts that only the check sees."""
    unshare = needs_tool("unshare")
    allowed = subprocess.run([unshare, "-m", "true"], check=False, capture_output=True)
    needs(allowed.returncode == 0, "the right to mount (CAP_SYS_ADMIN)")
    script = f"set -e\n{mounts}\nexec {REFRESHERD} check --config {place.file}"
    command = [unshare, "-m", "sh", "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def mounted_secret(place: Place, mode: str) -> "subprocess.CompletedProcess[str]":
    """Check a configuration whose key is in a secret that Kubernetes has mounted."""
    secret = place.directory / "secret"
    secret.mkdir()
    place.file.write_text(
        f"{DSM}[apps.a]\napi_key_file = 'secret/a.key'\n[api]\npath = 'api.sock'\n"
    )
    mounts = f"""
        mount -t tmpfs -o mode=3777,gid=2000 none {secret}
        mkdir {secret}/..2026 && cp {place.directory}/keys/a.key {secret}/..2026
        chgrp 2000 {secret}/..2026/a.key && chmod {mode} {secret}/..2026/a.key
        ln -s ..2026 {secret}/..data && ln -s ..data/a.key {secret}/a.key
        chmod 777 {secret}
        mount -o remount,ro {secret}
    """
    return checked_with_mounts(place, mounts)


@AS_ROOT
def test_a_secret_of_kubernetes_is_no_danger(place: Place) -> None:
    """Read-only mounts have any mode, links lead to the file, and a group may read it."""
    done = mounted_secret(place, "440")
    assert (done.returncode, done.stderr) == (0, "")


@AS_ROOT
def test_a_configuration_on_a_read_only_mount_may_belong_to_another_user(place: Place) -> None:
    """As after `docker run -v $PWD/config.toml:/etc/refresherd/config.toml:ro` by a developer."""
    file = place.write("config.toml", f"{APP}[api]\npath = 'api.sock'\n")
    os.chown(file, NOBODY, NOBODY)
    mounts = f"mount --bind {file} {file}\nmount -o remount,bind,ro {file}"
    done = checked_with_mounts(place, mounts)
    assert (done.returncode, done.stderr) == (0, "")


@AS_ROOT
def test_a_secret_of_kubernetes_that_everybody_may_read_has_a_remedy(place: Place) -> None:
    """Nobody can change a mode on a read-only mount; the pod has to ask for another one."""
    done = mounted_secret(place, "644")
    assert done.returncode == 78
    assert 'mount it with another mode ("defaultMode: 0440")' in done.stderr


@pytest.mark.parametrize(
    ("body", "name", "key"),
    [
        ("ca_file = 'ca.pem'\n", "ca.pem", "apps.a.ca_file"),
        ("[[apps.a.hooks]]\ncommand = ['{}/hook']\n", "hook", "apps.a.hooks[0].command[0]"),
    ],
)
def test_a_ca_or_a_program_that_every_user_may_write_to_is_refused(
    place: Place, body: str, name: str, key: str
) -> None:
    """The first decides who gets the credential, and the second is run as the daemon's user."""
    place.write(name, "#!/bin/sh\n", 0o777)
    faults = place.faults(f"{APP}{body.format(place.directory)}")
    assert any(f"{key}: every user (mode 0777) may write to" in fault for fault in faults)


def test_a_directory_of_path_in_which_others_may_plant_a_program_is_refused(place: Place) -> None:
    """The daemon would find and run a program there before the intended one."""
    planted = place.directory / "planted"
    planted.mkdir()
    place.environ["PATH"] = f"{planted}:/usr/bin:/bin"
    text = f"{APP}[[apps.a.hooks]]\ncommand = ['true']\n"
    assert place.faults(text) == ()
    planted.chmod(0o1777)
    (fault,) = place.faults(text)
    assert "apps.a.hooks[0].command[0]: every user (mode 1777) may write to" in fault
    assert "write the program's absolute path" in fault
    assert place.faults(text.replace("'true'", "'/bin/true'")) == ()


def test_a_pid_file_that_every_user_may_write_to_is_a_warning(place: Place) -> None:
    """Somebody could choose whom the daemon signals; the service itself may own the file."""
    place.write("a.pid", "17", 0o666)
    hook = "[[apps.a.hooks]]\nsignal = 'HUP'\npid_file = 'a.pid'\n"
    (warning,) = warnings(place, f"{APP}{hook}")
    assert "apps.a.hooks[0].pid_file: every user (mode 0666) may write to" in warning


@pytest.mark.parametrize(("mode", "cure"), [(0o777, "run chmod 0700"), (0o1777, "name a")])
def test_a_state_directory_that_every_user_may_write_to_is_refused(
    place: Place, mode: int, cure: str
) -> None:
    """A session that somebody plants there would be handed out.

    The mode of a shared directory such as /tmp must stay, or every other program there fails.
    """
    (place.directory / "state").mkdir()
    (place.directory / "state").chmod(mode)
    (fault,) = place.faults(f"state_dir = 'state'\n{APP}")
    assert f"1: state_dir: every user (mode {mode:04o}) may write to" in fault
    assert f"plant a session; {cure}" in fault


def test_an_output_directory_that_every_user_may_write_to_is_a_warning(place: Place) -> None:
    """Consumers might read a token of somebody else's choice; one line for each directory."""
    two = output("run/token") + "[[apps.a.files]]\npath = 'run/other'\n"
    (place.directory / "run").chmod(0o777)
    (warning,) = warnings(place, two)
    assert warning.startswith("6: apps.a.files[0].path: every user (mode 0777) may write to ")
    assert "run chmod go-w" in warning
    (place.directory / "run").chmod(0o1777)
    (warning,) = warnings(place, two)
    assert warning.endswith("in this place; name another directory")


@pytest.mark.parametrize(("kind", "mode"), [("files", "0000"), ("files", "0111"), ("sockets", "0")])
def test_a_mode_that_lets_nobody_in_is_a_warning(place: Place, kind: str, mode: str) -> None:
    """Nobody means it, and consumers only see that permission is denied."""
    (warning,) = warnings(place, output("run/x", f"mode = '{mode.zfill(4)}'\n", kind))
    assert "lets nobody but root" in warning


@AS_ROOT
@pytest.mark.parametrize("who", ["group = 'daemon'\nmode = '0640'\n", "owner = 'daemon'\n"])
def test_a_directory_that_keeps_consumers_out_is_a_warning(shared_place: Place, who: str) -> None:
    """They would only see that permission is denied."""
    run = shared_place.directory / "run"
    run.mkdir(0o700)
    text = output("run/token", who).replace("keys/a.key", "payments.key")
    (warning,) = warnings(shared_place, text)
    assert f'"daemon" cannot enter "{run}" (mode 0700), and so cannot reach the token' in warning
    for mode, owner, group in ((0o711, 0, 0), (0o710, 0, 1), (0o710, 1, 1)):
        os.chown(run, owner, group)
        run.chmod(mode)
        assert warnings(shared_place, text) == []
    os.chown(run, 0, 0)
    run.chmod(0o700)
    with suppress(OSError):  # not every file system has access control lists
        os.setxattr(run, "system.posix_acl_access", ACL)
        assert warnings(shared_place, text) == []


@AS_ROOT
@pytest.mark.parametrize("kind", ["files", "sockets"])
def test_an_owner_or_group_that_this_user_may_not_give_files_to_is_a_warning(
    place: Place, kind: str
) -> None:
    """Otherwise everything looks right until the daemon runs, and no file appears."""
    needs_tool("setpriv")
    more = "mode = '0660'\nowner = 'daemon'\ngroup = 'daemon'\n"
    place.write(place.file.name, "http.listen = []\napi.path = ''\n" + output("run/x", more, kind))

    def check(*options: str) -> list[str]:
        command = ("setpriv", *options, REFRESHERD, "check", "--config", str(place.file))
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert done.returncode == 0, done.stderr
        lines = (line.split(": ", 2)[2] for line in done.stderr.splitlines())
        return [line.rpartition(' "daemon"; ')[0] for line in lines if "may not give" in line]

    without = ("--bounding-set=-chown", "--groups")
    of_user = f"apps.a.{kind}[0].owner: this user (uid 0) may not give files to the user"
    of_group = f"apps.a.{kind}[0].group: this user (uid 0) may not give files to the group"
    assert check(*without, "0") == [of_user, of_group]
    assert check(*without, "1") == [of_user]
    assert check("--groups", "0") == []
    # New files get the group of such a directory by themselves.
    os.chown(place.directory / "run", 0, 1)
    (place.directory / "run").chmod(0o2755)
    assert check(*without, "0") == [of_user]
