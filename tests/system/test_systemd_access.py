"""Credentials and tokens that systemd passes on, and who gets them."""

import time

import pytest

from support.nspawn import until
from support.systemd_host import (
    PYTHON,
    PYTHON_NAME,
    SERVICE,
    UNITS,
    Host,
    journal,
    shown,
    token,
)

SOCKET = """\
[[apps.payments.sockets]]
path = "/run/refresherd/payments.sock"
[apps.payments.access]
units = ["consumer.service", "worker@a.service"]
groups = ["games", "3299"]
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


@pytest.mark.parametrize(
    ("properties", "status"),
    [
        (("--unit=worker@a",), "200"),
        (("--unit=worker@b",), "403"),
        (("--unit=consumer", "--slice=payments-web.slice"), "200"),
    ],
)
def test_units_are_found_in_every_slice(
    started: Host, properties: tuple[str, ...], status: str
) -> None:
    """Instances of templates have a slice of their own, and operators make others."""
    assert status_for(started, *properties) == status


def test_a_member_of_hundreds_of_groups_gets_the_token(started: Host) -> None:
    """Directory services put people into hundreds, and the unit hides /proc from the daemon."""
    options = ("--quiet", "--pipe", "--wait", "--collect")
    for last, status in (3299, "200"), (3298, "403"):
        groups = ",".join(str(gid) for gid in range(3000, last + 1))
        member = ("setpriv", "--reuid=daemon", f"--groups={groups}")
        assert started.machine.run("systemd-run", *options, *member, *ASK).stdout == status


def test_nobody_is_a_user_like_any_other(host: Host) -> None:
    """The host's own `nobody` is one user; only in a user namespace it may be anybody."""
    host.app("payments", '[apps.payments.access]\nusers = ["nobody"]\n')
    host.systemctl("start", SERVICE)
    options = ("--quiet", "--pipe", "--wait", "--collect")
    nobody, other = (
        host.machine.run("systemd-run", *options, f"--uid={user}", *ASK).stdout
        for user in ("nobody", "daemon")
    )
    assert (nobody, other) == ("200", "403")
    host.drop_in("[Service]\nPrivateUsers=yes\n")
    host.systemctl("restart", SERVICE)
    ask = tuple(word for word in ASK if word not in ("-o", "/dev/null"))
    answered = host.machine.run("systemd-run", *options, "--uid=nobody", *ask).stdout
    assert "in its user namespace stands for every user without a number there" in answered
    assert answered.endswith("403")
    assert "warning" in journal(host)


def test_a_directory_service_that_hangs_denies_nobody(host: Host) -> None:
    """Whom it has named before is served; others are told why they have to wait."""
    host.app("payments", '[apps.payments.access]\nusers = ["games"]\n')
    host.systemctl("start", SERVICE)

    def answer(user: str) -> str:
        options = ("--quiet", "--pipe", "--wait", "--collect", f"--uid={user}")
        words = (word for word in ASK if word not in ("-o", "/dev/null"))
        return host.machine.run("systemd-run", *options, *words, "--include").stdout

    assert answer("games").endswith("200")
    assert answer("daemon").endswith("403")
    # Whoever opens a pipe waits until somebody writes to it, as for a server that is gone.
    inside = ("nsenter", f"--target={shown(host, 'MainPID')}", "--mount")
    host.machine.run("mkfifo", "/run/hanging")
    host.machine.run(*inside, "mount", "--bind", "/run/hanging", "/etc/passwd")
    time.sleep(1.1)  # what was looked up is good for a second
    assert answer("games").endswith("200")
    refused = answer("daemon")
    assert refused.endswith("503")
    assert "Retry-After: 5" in refused
    assert (
        'cannot tell whether you may have the token of \\"payments\\": looking up the users and '
        "groups of its access takes over 5 s"
    ) in refused
    assert "access undecided" in journal(host)
    host.machine.run(*inside, "umount", "--lazy", "/etc/passwd")
    host.machine.run("sh", "-c", "timeout 5 sh -c ': >/run/hanging'; rm /run/hanging")
    until(lambda: answer("daemon").endswith("403"), lambda: journal(host))
    assert answer("games").endswith("200")


IN_GROUPS_OF_ITS_OWN = """\
here=/sys/fs/cgroup/unified$(sed -n 's/^0:://p' /proc/self/cgroup)
[ -d $here ] || here=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)
mkdir -p "$here/$1"
echo $$ >"$here/$1/cgroup.procs"
shift
exec setpriv --reuid=daemon --clear-groups "$@"
"""


@pytest.mark.parametrize(
    ("unit", "group", "status"),
    [
        ("consumer", "worker/deep", "200"),
        ("other", "system.slice/consumer.service", "403"),
        ("other", "consumer.service", "403"),
    ],
)
def test_groups_that_a_unit_makes_are_the_units(
    started: Host, unit: str, group: str, status: str
) -> None:
    """A unit with Delegate= may call the groups below its own what it likes."""
    options = ("--quiet", "--pipe", "--wait", "--collect", "--property=Delegate=yes")
    shell = ("sh", "-c", IN_GROUPS_OF_ITS_OWN, "sh", group)
    done = started.machine.run("systemd-run", *options, f"--unit={unit}", *shell, *ASK)
    assert done.stdout == status, done.stderr


PROBE = """\
[Service]
Type=oneshot
{hardening}
Environment=LD_LIBRARY_PATH={python}/lib
ExecStart={python}/bin/{name} -c "{code}"
"""

OWN_OWNER = """\
import sys, socket, os; sys.path[:0] = ['/opt/refresherd/lib']; \
from refresherd.host.tcp_peers import TcpPeers; \
server = socket.create_server(('127.0.0.1', 0)); \
client = socket.create_connection(server.getsockname()); \
assert TcpPeers().owner(server.accept()[0]) == os.getuid() > 0"""

NOT_HARDENING = ("ExecStart", "ExecReload", "Type", "Restart", "Watchdog", "NotifyAccess")


def test_the_unit_may_ask_whose_a_tcp_client_is(host: Host) -> None:
    """The kernel tells it on a netlink socket, which the hardening has to allow."""
    lines = host.machine.read(f"/etc/systemd/system/{SERVICE}").split("[Service]")[1]
    wanted = [line for line in lines.split("[Install]")[0].splitlines() if "=" in line]
    hardening = "\n".join(line for line in wanted if not line.startswith((*NOT_HARDENING, "#")))
    for allowed, state in (hardening, 0), (hardening.replace(" AF_NETLINK", ""), 1):
        code = OWN_OWNER.replace("%", "%%")
        text = PROBE.format(hardening=allowed, python=PYTHON, name=PYTHON_NAME, code=code)
        host.unit("probe.service", text)
        done = host.machine.run("systemctl", "start", "probe.service", check=False)
        assert done.returncode == state, journal(host, "probe.service")


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
