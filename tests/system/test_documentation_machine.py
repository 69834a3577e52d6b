"""The documented commands work on a host with systemd, and where nothing is installed."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import requires
from pathlib import Path

import pytest

from support.documentation import (
    CHECKOUT,
    MACHINE,
    README,
    UNTIL_CTRL_C,
    USER,
    Block,
    Command,
    blocks,
    command_of,
    pages,
)
from support.lab import needs, needs_tool
from support.shell_session import Session, session
from support.systemd_host import DSM, SERVICE, SOCKET, Host, bare_host, shown, token

PAGE = CHECKOUT / "docs" / "systemd.md"

PYTHON = Path("/usr/bin/python3")
"""The distribution's Python, which a user's PATH finds."""

INSTANCE = "refresherd@blue.service"

ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USER_PATH = "/usr/local/bin:/usr/bin:/bin"

REPORT = """\
#!/bin/sh
exec test "$1" = --token-file -a -s "$2"
"""
"""The program that the page's example of a service runs."""


def download(wheels: Path) -> None:
    """Download what pip needs, because the machine has no network."""
    query = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    version = subprocess.run([PYTHON, "-c", query], capture_output=True, text=True, check=False)
    needs(version.returncode == 0, "a Python of the distribution with its venv")
    wanted = [line for line in requires("refresherd") or () if "extra ==" not in line]
    options = ("--only-binary=:all:", "--python-version", version.stdout.strip())
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels))
    done = subprocess.run([*pip, *options, "hatchling", *wanted], capture_output=True, check=False)
    needs(done.returncode == 0, "a package index")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Boot a host where nothing is installed, and where a user has a checkout."""
    needs_tool("curl")
    with bare_host(tmp_path_factory.mktemp("bare"), "/opt/dsm") as host:
        host.machine.run("useradd", "--create-home", "ada")
        checkout = host.machine.root / "home/ada/refresherd"
        for name in ("refresherd", "systemd"):
            shutil.copytree(CHECKOUT / name, checkout / name)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(CHECKOUT / name, checkout)
        download(host.machine.root / "srv/wheels")
        host.machine.run("chown", "--recursive", "ada:", "/home/ada")
        key = host.dsm("apps", {"name": "payments"})["api_key"]
        host.machine.write("/home/ada/refresherd/payments.key", key, 0o600)
        host.machine.write("/usr/local/bin/payments-report", REPORT, 0o755)
        yield host


def add_everything(host: Host) -> None:
    """Add what only some hosts have: an instance, the state of a DynamicUser=, a polkit rule."""
    text = host.machine.read("/etc/refresherd/config.toml")
    head = '[http]\nlisten = []\n[api]\npath = "/run/refresherd/blue/api.sock"\n'
    config = head + text.replace("refresherd/", "refresherd/blue/")
    host.machine.write("/etc/refresherd/blue/config.toml", config)
    credential = "[Service]\nLoadCredential=payments:/etc/refresherd/payments.key\n"
    host.drop_in(credential, unit=INSTANCE)
    host.systemctl("enable", "--now", INSTANCE)
    host.machine.run("mkdir", "-p", "/var/lib/private/refresherd")
    host.machine.write("/etc/polkit-1/rules.d/refresherd.rules", "")


@contextmanager
def typing(host: Host, *, root: bool) -> Iterator[Session]:
    """Start a shell in the checkout, as root or as an ordinary user."""
    home, path = ("/root", ROOT_PATH) if root else ("/home/ada", USER_PATH)
    who = () if root else ("setpriv", "--reuid=ada", "--regid=ada", "--init-groups")
    environ = (f"HOME={home}", f"PATH={path}", "LANG=C.UTF-8")
    # The machine has no package index, and compiling all files would take too long.
    pip = ("PIP_NO_INDEX=1", "PIP_FIND_LINKS=/srv/wheels", "PIP_NO_COMPILE=1")
    shell = (*who, "env", "-i", "-C", "/home/ada/refresherd", *environ, *pip, "bash", "--norc")
    with session(host.machine.command(*shell), host.machine.root, {}) as page:
        page.replacements = {"https://amer.smartkey.io": DSM}
        yield page


def carry_out(page: Session, block: Block) -> None:
    """Run a block, or save it if it is a file."""
    try:
        if block.file:
            page.run(Command(f"mkdir -p $(dirname {block.file})"))
            page.save(block.file, block.text)
        elif block.mark == UNTIL_CTRL_C:
            page.run(Command(block.text, "…\n…token 1…", interrupted=True))
        elif block.runs:
            page.run(command_of(block))
    except AssertionError as error:
        raise AssertionError(f"{block.place}: {error}") from None


@pytest.mark.timeout(300)
def test_a_user_without_root_has_a_token(bare: Host) -> None:
    """The first steps need no root, and work for a newcomer as they are."""
    with typing(bare, root=False) as page:
        for block in blocks(README):
            if block.mark in (USER, UNTIL_CTRL_C):
                carry_out(page, block)


@pytest.mark.timeout(300)
def test_a_user_installs_it_for_a_dsm(bare: Host) -> None:
    """Other pages than the README also show how to install it."""
    others = [page for page in pages() if page != README]
    chosen = [block for page in others for block in blocks(page) if block.mark == USER]
    assert chosen
    for block in chosen:
        with typing(bare, root=False) as page:
            carry_out(page, block)


@pytest.mark.timeout(300)
def test_install_upgrade_and_uninstall(bare: Host) -> None:
    """An installation gets a token, an upgrade keeps it, and the removal leaves nothing behind."""
    steps = [block for block in blocks(PAGE) if not block.mark]
    uninstall = next(block for block in steps if "disable --now" in block.text)
    elsewhere = [block for page in pages() for block in blocks(page) if block.mark == MACHINE]
    assert elsewhere
    with typing(bare, root=True) as page:
        for block in steps[: steps.index(uninstall)]:
            upgrades = "--upgrade" in block.text
            before = (token(bare), shown(bare, "MainPID")) if upgrades else ("", "")
            carry_out(page, block)
            if "enable --now" in block.text:
                assert bare.machine.read("/run/refresherd/payments.token") == token(bare)
                assert shown(bare, "UnitFileState") == "enabled"
            if upgrades:
                assert token(bare) == before[0]
                assert shown(bare, "MainPID") != before[1]
        for block in elsewhere:
            carry_out(page, block)
        add_everything(bare)
        carry_out(page, uninstall)
    for unit in (SERVICE, SOCKET, INSTANCE):
        assert shown(bare, "LoadState", unit) == "not-found"
        assert shown(bare, "ActiveState", unit) == "inactive"
    places = ("/opt/refresherd", "/etc", "/run", "/var/lib")
    assert bare.machine.ask("find", *places, "-name", "*refresherd*") == ""
