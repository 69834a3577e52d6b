"""`refresherd emulator --dir`, with the daemon's commands on the configuration that it writes."""

import socket
from pathlib import Path

import pytest

from support.programs import command, emulator

pytestmark = pytest.mark.usefixtures("measured_programs")


def test_a_daemon_finds_the_emulator_again_after_a_restart(tmp_path: Path) -> None:
    """Same address, same CA, same keys: only the sessions are gone."""
    directory, tokens = tmp_path / "dsm", []
    options = ("--dir", str(directory), "--certificate-apps", "1", "--ldap-apps", "1")
    for more in (("--tls", *options), options):
        with emulator(*more) as dsm:
            done = command("once", "--config", str(directory / "config.toml"))
            assert done.returncode == 0, done.stderr
            assert done.stdout == "app-1: done\napp-2: done\napp-3: done\n"
            tokens.append((dsm, (directory / "app-1.token").read_text()))
    (before, old), (after, new) = tokens
    assert before == after
    assert old != new


def test_a_kept_port_that_is_taken_meanwhile_is_explained(tmp_path: Path) -> None:
    """Nobody asked for that port, so the message has to say where it comes from."""
    with emulator("--dir", str(tmp_path / "dsm")) as dsm:
        port = int(dsm.url.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        done = command("emulator", "--dir", str(tmp_path / "dsm"))
    assert done.returncode == 69
    reason = "the address is in use; the last run used it, so free it, or choose another with"
    expected = f"refresherd emulator: cannot listen on 127.0.0.1:{port}: {reason} --listen\n"
    assert done.stderr == expected


def test_a_directory_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    """The line names the directory and what to do."""
    with emulator("--dir", str(tmp_path)):
        done = command("emulator", "--dir", str(tmp_path))
    assert done.returncode == 69
    reason = "another emulator uses it; name another directory"
    assert done.stderr == f"refresherd emulator: cannot use {tmp_path}: {reason}\n"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """It is not the address that is wrong, although the server is just about to listen."""
    with emulator("--tls", "--dir", str(tmp_path)):
        pass
    key = tmp_path / "server.key"
    key.unlink()
    key.mkdir()
    done = command("emulator", "--dir", str(tmp_path))
    assert done.returncode == 69
    assert done.stderr == f"refresherd emulator: cannot use {key}: Is a directory\n"


def test_certificate_apps_need_tls() -> None:
    """Without it nobody could present a certificate."""
    done = command("emulator", "--certificate-apps", "1")
    assert (done.returncode, done.stderr) == (
        64,
        "refresherd emulator: --certificate-apps needs --tls\n",
    )
