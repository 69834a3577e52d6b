"""Credentials and tokens that systemd passes on, and who gets them."""

import pytest

from support.systemd_host import SERVICE, UNITS, Host, shown, token

SOCKET = """\
[[apps.payments.sockets]]
path = "/run/refresherd/payments.sock"
[apps.payments.access]
units = ["consumer.service"]
groups = ["games"]
"""

CREDENTIAL = """\
[Service]
Type=oneshot
LoadCredential=token:/run/refresherd/payments.sock
ExecStartPre=test -s ${CREDENTIALS_DIRECTORY}/token
ExecStart=sh -c 'cat "$CREDENTIALS_DIRECTORY/token" >/run/taken'
DynamicUser=no
"""

ASK = (
    *("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}"),
    *("--unix-socket", "/run/refresherd/api.sock", "http://localhost/v1/apps/payments/token"),
)


@pytest.fixture
def started(host: Host) -> Host:
    """Return a host whose daemon gives tokens to some units and groups."""
    host.app("payments", SOCKET)
    host.systemctl("start", SERVICE)
    return host


def status_for(host: Host, *properties: str) -> str:
    """Return the HTTP status that a process in a unit with these properties gets."""
    options = ("--quiet", "--pipe", "--wait", "--collect", "--uid=daemon")
    return host.machine.run("systemd-run", *options, *properties, *ASK).stdout


def test_a_unit_gets_the_token_as_its_credential(started: Host) -> None:
    """No file, no library, no rights: LoadCredential= with the socket's path is all it takes."""
    started.unit("consumer.service", CREDENTIAL)
    started.systemctl("start", "consumer.service")
    assert started.machine.read("/run/taken") == token(started)


def test_another_unit_gets_nothing(started: Host) -> None:
    """Its start fails instead of running with an empty token."""
    started.machine.run("rm", "-f", "/run/taken")
    started.unit("other.service", CREDENTIAL)
    assert started.machine.run("systemctl", "start", "other.service", check=False).returncode != 0
    assert not (started.machine.root / "run/taken").exists()


def test_the_api_tells_units_and_groups_apart(started: Host) -> None:
    """The hardened daemon sees no other processes, but still knows their units and groups."""
    assert status_for(started, "--unit=consumer") == "200"
    assert status_for(started, "--unit=other") == "403"
    assert status_for(started, "--unit=other", "--property=SupplementaryGroups=games") == "200"


def test_the_daemons_own_group_needs_no_drop_in(host: Host) -> None:
    """The unit forbids chown(2), and nothing has to change."""
    socket = "[[apps.payments.sockets]]\npath = '/run/refresherd/payments.sock'\n"
    host.app("payments", f"group = 'refresherd'\n{socket}group = 'refresherd'\nmode = '0660'\n")
    host.systemctl("start", SERVICE)
    assert owner(host) == "refresherd:refresherd"
    shape = host.machine.ask("stat", "--format=%U:%G %a", "/run/refresherd/payments.sock")
    assert shape == "refresherd:refresherd 660"


def test_files_are_given_to_groups(host: Host) -> None:
    """As drop-ins/hand-over.conf says: a group that the daemon is a member of needs no more."""
    host.app("payments", 'group = "games"\n')
    host.drop_in((UNITS / "drop-ins" / "hand-over.conf").read_text(), "hand-over")
    host.drop_in("[Service]\nSupplementaryGroups=games\n")
    host.systemctl("start", SERVICE)
    assert owner(host) == "refresherd:games"


def test_files_are_given_to_anybody(host: Host) -> None:
    """As drop-ins/hand-over.conf says: with two capabilities."""
    host.app("payments", 'owner = "daemon"\ngroup = "games"\n')
    text = (UNITS / "drop-ins" / "hand-over.conf").read_text()
    host.drop_in(text.replace("#Cap", "Cap").replace("#Amb", "Amb"), "hand-over")
    host.systemctl("start", SERVICE)
    assert owner(host) == "daemon:games"


def owner(host: Host) -> str:
    """Return the owner and group of the token file."""
    return host.machine.ask("stat", "--format=%U:%G", "/run/refresherd/payments.token")


def test_keys_are_encrypted_at_rest(host: Host) -> None:
    """Only this host can read the key, on its disk and in its backups."""
    host.app("payments")
    key, sealed = "/etc/refresherd/payments.key", "/etc/refresherd/payments.cred"
    host.machine.run("systemd-creds", "encrypt", "--with-key=host", "--name=payments", key, sealed)
    host.machine.run("rm", key)
    host.drop_in(f"[Service]\nLoadCredentialEncrypted=payments:{sealed}\n", "payments")
    host.systemctl("start", SERVICE)
    assert token(host) in host.statistics("payments")["tokens"]


def test_restart_picks_up_a_changed_key(started: Host) -> None:
    """Before version 260, systemd reads credentials only at start; a restart costs no login."""
    before = token(started)
    key = started.dsm("apps/reset-secret", {"app": "payments"})["api_key"]
    started.machine.write("/etc/refresherd/payments.key", key, 0o600)
    started.systemctl("restart", SERVICE)
    after = token(started)
    assert after != before
    assert after in started.statistics("payments")["live_tokens"]


def test_state_is_the_daemons_alone(host: Host) -> None:
    """What a restart needs is in a directory that nobody else can read."""
    host.app("payments")
    host.systemctl("start", SERVICE)
    found = host.machine.ask("stat", "--format=%U %a", "/var/lib/refresherd")
    assert found == "refresherd 700"
    assert shown(host, "ActiveState") == "active"
