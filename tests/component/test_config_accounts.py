"""Users and groups that this process cannot tell from others, in user namespaces."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from refresherd.config.accounts import check_accounts
from refresherd.config.parse import parse_settings
from refresherd.config.source import read_toml
from refresherd.host.path_identity import Resolver
from refresherd.host.user_namespace import Overflow
from support.configurations import APP, DSM, ENVIRON, FILE
from support.lab import needs_tool

ACCESS = f"""\
{DSM}{APP}
[apps.payments.access]
users = [
  "root",
  "65534",
]
groups = ["65534", "0"]
"""


def found(text: str, namespace: Overflow) -> list[tuple[object, str]]:
    """Return the keys and messages about accounts in such a namespace."""
    settings = parse_settings(read_toml(FILE, text), FILE, ENVIRON)
    findings = check_accounts(settings, Resolver(), namespace)
    return [(finding.path, finding.message) for finding in findings]


def test_a_user_or_group_that_is_named_in_vain_is_a_warning() -> None:
    """Whoever names `nobody` in a container would wonder about the 403."""
    (user, words), (group, other) = found(ACCESS, Overflow(65534, 65534))
    assert user == ("apps", "payments", "access", "users", 1)
    assert words.startswith(
        '"65534" gets no token from the API: in this user namespace, 65534 stands for every user '
        "without a number here; name another one, or run refresherd in a user namespace with"
    )
    assert group == ("apps", "payments", "access", "groups", 0)
    assert "stands for every group without a number here" in other


def test_where_each_user_has_a_number_nobody_is_no_warning() -> None:
    """There 65534 is a user like any other."""
    assert found(ACCESS, Overflow(None, None)) == []
    assert len(found(ACCESS, Overflow(None, 65534))) == 1


def test_the_daemons_own_user_is_named() -> None:
    """The kernel shows it to itself like every user without a number."""
    ((key, message),) = found(f"{DSM}{APP}", Overflow(os.geteuid(), 65534))
    assert key == ()
    assert message.startswith("this user gets no token from the API: in this user namespace, ")
    assert "run it as another one" in message


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--user", "--map-root-user"), (":10: warning: apps.payments.access.users[1]: ",)),
        (("--user",), (":1: warning: this user gets no token", ":10: warning: ")),
    ],
)
def test_check_knows_its_own_namespace(
    tmp_path: Path, options: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    """As a daemon in a container without all users would."""
    unshare = [needs_tool("unshare"), *options]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this host allows no user namespaces")
    file = tmp_path / "config.toml"
    file.write_text(f"api.path = ''\n{ACCESS}")
    command = [sys.executable, "-m", "refresherd", "check", "--config", str(file)]
    environ = {**os.environ, **ENVIRON}
    words = [*unshare, *command]
    ran = subprocess.run(words, env=environ, capture_output=True, text=True, check=False)
    for line in expected:
        assert f"{file}{line}" in ran.stdout + ran.stderr
