"""No output shares a path with another output, or with a file that the daemon reads or keeps."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.configurations import DSM, Place
from support.lab import needs, needs_root, needs_tool
from support.programs import REFRESHERD

APP = f"{DSM}[apps.a]\napi_key_file = 'payments.key'\n"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Return a directory with an API key in it, and links to the directory and to the key."""
    place = Place(tmp_path)
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "key").symlink_to("here/payments.key")
    (tmp_path / "run").mkdir()
    return place


def files(*paths: str, credential: str = "api_key_file = 'payments.key'") -> str:
    """Return a configuration with these files."""
    tables = "".join(f"[[apps.a.files]]\npath = '{path}'\n" for path in paths)
    return f"{DSM}[apps.a]\n{credential}\n{tables}"


@pytest.mark.parametrize(
    "path",
    ["payments.key", "here/payments.key", "here/here/payments.key", "run/../here/payments.key"],
)
def test_a_token_never_overwrites_the_key(place: Place, path: str) -> None:
    """The key is lost then, and with it the app's credential."""
    (fault,) = place.faults(files(path))
    assert fault.startswith("6: apps.a.files[0].path: apps.a.api_key_file is read from this path")
    assert fault.endswith("and would be overwritten; write another path")


@pytest.mark.parametrize("path", ["key", "here", "payments.key", "here/key", "here/payments.key"])
def test_neither_a_link_to_the_key_nor_its_target_is_replaced(place: Place, path: str) -> None:
    """Kubernetes and certificate tools lead to a file through several links."""
    (fault,) = place.faults(files(path, credential="api_key_file = 'key'"))
    assert "apps.a.api_key_file is read from this path" in fault


def test_an_output_that_is_itself_a_link_leaves_the_target_alone(place: Place) -> None:
    """A rename replaces the link, so only the link's own name counts."""
    (place.directory / "token").symlink_to("payments.key")
    assert place.faults(files("token")) == ()


def test_two_names_of_one_output_are_a_collision(place: Place) -> None:
    """Two apps would write one file by turns."""
    (fault,) = place.faults(files("token", "here/token"))
    assert fault.startswith("8: apps.a.files[1].path: apps.a.files[0].path has the same path, ")
    assert fault.endswith(f', written as "{place.directory}/token"; write another path')
    faults = place.faults(files("new/token", "here/new/token"))
    assert "has the same path" in faults[0]


def test_an_output_below_another_is_a_collision(place: Place) -> None:
    """Whichever is written first, the other cannot be."""
    (fault,) = place.faults(files("new", "new/token"))[:1]
    assert "the path of apps.a.files[1].path" in fault
    assert "leads through this one" in fault


@pytest.mark.parametrize("name", ["lock", "logins", "generations", "a.session", "token"])
def test_no_output_is_in_the_state_directory(place: Place, name: str) -> None:
    """Without its lock, a second daemon would run; without `logins`, a key could be burnt."""
    (place.directory / "state").mkdir(mode=0o700)
    (place.directory / "alias").symlink_to("state")
    for text in (f"state_dir = 'state'\n{files(f'state/{name}')}", files(f"alias/{name}")):
        place.environ["STATE_DIRECTORY"] = str(place.directory / "state")
        (fault,) = place.faults(text)
        assert "state_dir is for the daemon's own files; write another path" in fault


def test_a_state_directory_that_does_not_exist_yet_counts(place: Place) -> None:
    """The daemon creates it at its start."""
    faults = place.faults(f"state_dir = 'state'\n{files('here/state/lock', 'here/state')}")
    assert "state_dir is for the daemon's own files" in faults[0]


@pytest.mark.parametrize(
    "name", ["lock", "logins", "generations", "a.session", ".logins.0123456789abcdef.tmp"]
)
def test_no_input_is_a_file_that_the_daemon_keeps(place: Place, name: str) -> None:
    """A bootstrap token may be put into state_dir, but not in a place of the daemon's own files."""
    place.environ["STATE_DIRECTORY"] = str(place.directory)
    place.write(name, "Zk3-x_9QbT" * 8)
    (fault,) = place.faults(files("run/token", credential=f"token_file = 'here/{name}'"))
    assert "the daemon keeps a file of its own by this name in state_dir" in fault


@pytest.mark.parametrize(
    ("app", "path", "key"),
    [
        ("ca_file = 'ca.pem'\n", "here/ca.pem", "apps.a.ca_file"),
        ("", "here/config.toml", "this configuration"),
        (
            "[[apps.a.hooks]]\nsignal = 'HUP'\npid_file = 'a.pid'\n",
            "here/a.pid",
            "apps.a.hooks[0].pid_file",
        ),
        (
            "[[apps.a.hooks]]\ncommand = ['{directory}/hook']\n",
            "here/hook",
            "apps.a.hooks[0].command[0]",
        ),
    ],
)
def test_everything_that_is_read_or_run_counts(place: Place, app: str, path: str, key: str) -> None:
    """A token would replace a CA, a configuration, a pid file or a program."""
    place.write("hook", "#!/bin/sh\n", 0o700)
    text = f"{APP}{app}[[apps.a.files]]\npath = '{path}'\n"
    faults = place.faults(text.replace("{directory}", str(place.directory)))
    assert any(f"{key} is read from this path" in fault for fault in faults)


def test_a_socket_never_takes_a_files_or_the_apis_place(place: Place) -> None:
    """Each of them counts, whatever it is."""
    sockets = "[[apps.a.sockets]]\npath = 'here/api.sock'\n[[apps.a.sockets]]\npath = 'here/t'\n"
    faults = place.faults(f"api.path = 'api.sock'\n{files('t')}{sockets}")
    assert [fault.split(": ", 2)[2].split(" ")[0] for fault in faults] == [
        "api.path",
        "apps.a.files[0].path",
    ]


def test_a_systemd_credential_is_never_overwritten(place: Place) -> None:
    """Its directory is known from the environment."""
    place.environ["CREDENTIALS_DIRECTORY"] = str(place.directory)
    text = files("here/payments.key", credential="api_key_credential = 'payments.key'")
    (fault,) = place.faults(text)
    assert "apps.a.api_key_credential is read from this path" in fault


def test_a_name_like_that_of_a_temporary_file_is_refused(place: Place) -> None:
    """The next start would remove it as a remnant of a killed run."""
    (fault,) = place.faults(files(".token.0123456789abcdef.tmp"))
    assert "the daemon removes files of such names" in fault


def test_a_hard_link_to_a_key_is_no_place_for_a_token(place: Place) -> None:
    """A rename would replace one name only, but a mounted file has the same look, and is lost."""
    os.link(place.directory / "payments.key", place.directory / "run" / "token")
    (fault,) = place.faults(files("run/token"))
    assert "apps.a.api_key_file is read from this path, written as" in fault


BOUND = """
set -e
mount --bind {directory}/real {directory}/bound
exec {refresherd} check --config {directory}/config.toml
"""


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("real/token", "bound/token", "apps.a.files[0].path has the same path"),
        ("run/token", "bound/payments.key", "apps.a.api_key_file is read from this path"),
    ],
)
def test_a_bind_mount_hides_no_collision(
    place: Place, first: str, second: str, expected: str
) -> None:
    """Containers mount one volume at several places."""
    needs_root()
    unshare = needs_tool("unshare")
    allowed = subprocess.run([unshare, "-m", "true"], check=False, capture_output=True)
    needs(allowed.returncode == 0, "the right to mount (CAP_SYS_ADMIN)")
    for name in ("real", "bound"):
        (place.directory / name).mkdir()
    (place.directory / "payments.key").rename(place.directory / "real" / "payments.key")
    place.file.write_text(files(first, second, credential="api_key_file = 'real/payments.key'"))
    script = BOUND.format(directory=place.directory, refresherd=REFRESHERD)
    done = subprocess.run(
        [unshare, "-m", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78, sys.executable
    assert f"apps.a.files[1].path: {expected}" in done.stderr
