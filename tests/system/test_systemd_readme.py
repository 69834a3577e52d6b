"""The README's lines for a host with systemd, run as they stand there."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest

from support.lab import needs
from support.systemd_host import DSM, Host, bare_host, journal, shown, token

CHECKOUT = Path(__file__).parent.parent.parent
SECTION = "On a host with systemd"

PYTHON = Path("/usr/bin/python3")
"""The distribution's: the one on a user's path."""

CONFIGURATION = f"""\
[dsm]
endpoint = "{DSM}"
[apps.payments]
api_key_credential = "payments"
[[apps.payments.files]]
path = "/run/refresherd/payments.token"
[[apps.payments.sockets]]
path = "/run/refresherd/payments.sock"
"""


def blocks() -> list[str]:
    """Return the section's shell commands: to install, to upgrade, to uninstall."""
    text = (
        (CHECKOUT / "README.md").read_text().partition(f"## {SECTION}\n")[2].partition("\n## ")[0]
    )
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


def download(wheels: Path) -> None:
    """Get what pip needs, for the machine has no network."""
    ask = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.run([PYTHON, "-c", ask], capture_output=True, text=True, check=False)
    needs(version.returncode == 0, "a Python of the distribution with its venv")
    wanted = [line for line in requires("refresherd") or () if "extra ==" not in line]
    options = ("--only-binary=:all:", "--python-version", version.stdout.strip())
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels))
    done = subprocess.run([*pip, *options, "hatchling", *wanted], capture_output=True, check=False)
    needs(done.returncode == 0, "a package index")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Boot a host that has a checkout, and nothing installed yet."""
    place = tmp_path_factory.mktemp("bare")
    with bare_host(place, "/opt/dsm") as host:
        checkout = host.machine.root / "srv"
        for name in ("refresherd", "systemd"):
            shutil.copytree(CHECKOUT / name, checkout / name)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(CHECKOUT / name, checkout)
        download(checkout / "wheels")
        key = host.dsm("apps", {"name": "payments"})["api_key"]
        host.machine.write("/srv/payments.key", key, 0o600)
        host.machine.write("/srv/config.toml", CONFIGURATION)
        yield host


def carry_out(host: Host, lines: str) -> None:
    """Run shell commands as an administrator does, without an index on the network."""
    pip = ("PIP_NO_INDEX=1", "PIP_FIND_LINKS=/srv/wheels")
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    shell = ("env", "-i", "-C", "/srv", path, *pip, "sh", "-euc", lines)
    done = subprocess.run(host.machine.command(*shell), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + journal(host)


@pytest.mark.timeout(240)
def test_install_upgrade_and_uninstall(bare: Host) -> None:
    """Who pastes them has a token, after an upgrade the same one, and in the end nothing left."""
    install, upgrade, uninstall = blocks()
    assert len(install.splitlines()) == 5
    carry_out(bare, install)
    before = token(bare)
    assert bare.machine.read("/run/refresherd/payments.token") == before
    assert shown(bare, "UnitFileState") == "enabled"
    pid = shown(bare, "MainPID")
    carry_out(bare, upgrade)
    assert (token(bare), shown(bare, "MainPID") != pid) == (before, True)
    carry_out(bare, uninstall)
    assert shown(bare, "LoadState") == "not-found"
    places = ("/opt/refresherd", "/etc", "/run", "/var/lib")
    assert bare.machine.ask("find", *places, "-name", "*refresherd*") == ""
