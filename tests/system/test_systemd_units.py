"""The unit files, checked by systemd itself."""

import re
from collections.abc import Iterable

import pytest

from support.systemd_host import ADDED, PROGRAM, UNITS, Host

MOST_EXPOSED = "1.3"

INSTALLED = ("refresherd.service", "refresherd@blue.service", "refresherd-api.socket")
EXAMPLES = sorted(path.name for path in (UNITS / "examples").glob("*.service"))

SUGGESTED = re.compile(r"^#(?=[A-Za-z]+=)", re.MULTILINE)
"""The prefix of a setting that takes effect by being left out."""

OF_INSTANCES = ("Description", "ExecStart", "RuntimeDirectory", "StateDirectory", "Wants", "Also")
"""What differs in the template unit, and what it does not need."""


def verified(host: Host, name: str) -> str:
    """Return systemd's complaints about a unit; without these options it exits 0 always."""
    options = ("--recursive-errors=no", "--man=no")
    done = host.machine.run("systemd-analyze", "verify", *options, name, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("name", INSTALLED)
def test_systemd_knows_every_line(host: Host, name: str) -> None:
    """An unknown key is ignored by systemd, and what it should protect stays open."""
    assert verified(host, f"/etc/systemd/system/{name}") == ""


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_units_too(host: Host, name: str) -> None:
    """People copy the examples."""
    text = (UNITS / "examples" / name).read_text()
    programs = [word for word in text.split() if "=/usr/local/bin/" in word]
    for program in programs:
        host.machine.write(program.partition("=")[2], "#!/bin/sh\n", 0o755)
    host.unit(name, text)
    assert verified(host, f"{ADDED}/{name}") == ""


@pytest.mark.parametrize("name", ["credentials.conf", "dynamic-user.conf", "hand-over.conf"])
def test_additions_are_known_to_every_version(host: Host, name: str) -> None:
    """Drop-ins for newer versions of systemd have the version in their name."""
    text = (UNITS / "drop-ins" / name).read_text()
    host.drop_in(SUGGESTED.sub("", text), "addition")
    assert verified(host, "/etc/systemd/system/refresherd.service") == ""


@pytest.mark.parametrize("name", ["refresherd.service", "refresherd@.service"])
def test_exposure_is_low(host: Host, name: str) -> None:
    """`systemd-analyze security` shows that the daemon can do little besides its work."""
    path = f"/etc/systemd/system/{name}"
    limit = str(int(float(MOST_EXPOSED) * 10))
    options = ("--offline=true", f"--threshold={limit}")
    done = host.machine.run("systemd-analyze", "security", *options, path, check=False)
    assert done.returncode == 0, done.stdout[-200:]
    assert f"{PROGRAM} run" in host.machine.read(path)


def test_instances_are_guarded_as_the_single_daemon_is() -> None:
    """Hardening of one unit must not be forgotten in the other."""
    single, template = (
        settings((UNITS / name).read_text())
        for name in ("refresherd.service", "refresherd@.service")
    )
    assert shared(single) == shared(template)


def shared(lines: Iterable[str]) -> list[str]:
    """Return the settings that all units share."""
    return [line for line in lines if line.partition("=")[0] not in OF_INSTANCES]


def settings(text: str) -> list[str]:
    """Return a unit's lines without comments."""
    lines = (line for line in text.splitlines() if line)
    return [line for line in lines if not line.startswith("#")]
