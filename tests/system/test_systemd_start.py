"""The start of the service on a real systemd."""

import json
import subprocess
import time
from base64 import b64encode

import pytest

from refresherd.domain.readiness import SETTLING_TIME
from support.nspawn import BOOTED, PATIENCE, Machine, until
from support.systemd_host import (
    APP,
    HEAD,
    SERVICE,
    SOCKET,
    UNITS,
    Host,
    journal,
    settled,
    shown,
    token,
    wait_for,
)

WRONG_KEY = b64encode(b"00000000-0000-4000-8000-000000000000:wrong").decode()

AWAY = {"reset": "before"}
"""What the DSM does with every request."""

TOKEN = "/run/refresherd/payments.token"


def begin(machine: Machine) -> "subprocess.Popen[bytes]":
    """Begin to start the service."""
    return subprocess.Popen(machine.command("systemctl", "start", SERVICE))


def test_hardened_unit_delivers_tokens(host: Host) -> None:
    """Hardening must not keep the daemon from its work."""
    host.app("payments")
    host.systemctl("start", SERVICE)
    assert host.machine.read(TOKEN) in host.statistics("payments")["tokens"]
    assert host.machine.ask("stat", "--format=%U:%G %a", TOKEN) == "refresherd:refresherd 644"
    assert shown(host, "StatusText").startswith("1 of 1 fresh")


def test_start_waits_for_the_tokens(host: Host) -> None:
    """Units ordered after the service may rely on it; an operator sees who is missing, and why.

    The start goes on beyond its time limit, since nothing would come of starting over.
    """
    host.app("payments")
    host.drop_in("[Service]\nTimeoutStartSec=8s\n")
    fault = host.dsm("faults", AWAY)["id"]
    start = begin(host.machine)
    began = float(shown(host, "InactiveExitTimestampMonotonic"))
    until(lambda: "payments" in shown(host, "StatusText"), lambda: shown(host, "StatusText"))
    until(lambda: float(host.machine.read("/proc/uptime").split()[0]) * 1e6 > began + 9e6)
    assert (shown(host, "ActiveState"), start.poll()) == ("activating", None)
    assert shown(host, "NRestarts") == "0"
    host.machine.run(
        "curl", "-sS", "-X", "DELETE", f"http://127.0.0.1:8080/control/faults?id={fault}"
    )
    assert start.wait(PATIENCE) == 0
    assert host.machine.read(TOKEN) in host.statistics("payments")["tokens"]


def two_apps(host: Host, *, ready: str = "settled") -> None:
    """Configure two apps, of which `lagging` is the one in trouble."""
    host.app("payments")
    host.app("lagging", APP.format(name="payments"), head=f'ready = "{ready}"\n{HEAD}')


def test_a_refused_key_holds_up_neither_boot_nor_reload(host: Host) -> None:
    """Whoever must replace the key needs a host that has booted, and `systemctl reload`."""
    two_apps(host)
    host.machine.write("/etc/refresherd/lagging.key", WRONG_KEY, 0o600)
    after = f"[Unit]\nAfter={SERVICE}\n[Service]\nType=oneshot\nExecStart=touch /run/booted\n"
    host.unit("after.service", after)
    began = time.monotonic()
    host.systemctl("start", SERVICE, "after.service")
    assert host.machine.root.joinpath("run/booted").exists()
    assert host.machine.ask("systemctl", "list-jobs") == "No jobs running."
    assert host.machine.ask("systemctl", "is-system-running") in BOOTED
    host.systemctl("reload", SERVICE)
    assert time.monotonic() - began < SETTLING_TIME
    assert host.machine.read(TOKEN) in host.statistics("payments")["tokens"]
    assert "lagging: no valid token (rejected)" in shown(host, "StatusText")


@pytest.mark.timing
def test_an_app_without_dsm_holds_up_the_boot_for_thirty_seconds(host: Host) -> None:
    """Its consumers may be critical, but so may be all the other units of the host."""
    two_apps(host)
    host.dsm("faults", {"hang": True, "app": "lagging"})
    began = time.monotonic()
    start = begin(host.machine)
    until(lambda: "waiting for lagging" in shown(host, "StatusText"))
    assert start.wait(SETTLING_TIME + PATIENCE) == 0
    assert time.monotonic() - began > SETTLING_TIME - 2.0
    assert "lagging: no valid token (starting): " in shown(host, "StatusText")
    host.systemctl("reload", SERVICE)


@pytest.mark.parametrize("ready", ["any", "started"])
def test_start_need_not_wait_for_everyone(host: Host, ready: str) -> None:
    """One unreliable app among many need not hold up all consumers."""
    two_apps(host, ready=ready)
    host.dsm("faults", {**AWAY, "app": "lagging"})
    host.systemctl("start", SERVICE)
    assert not host.machine.read("/run/refresherd/lagging.token")


def test_faulty_configuration_is_not_tried_again(host: Host) -> None:
    """Another start repairs no typo; the journal names its line."""
    host.app("payments", head=HEAD.replace("endpoint", "endpiont"))
    assert begin(host.machine).wait(PATIENCE) != 0
    assert settled(host) == ("failed", "78", "0")
    assert "/etc/refresherd/config.toml:" in journal(host)


def test_missing_credential_is_named(host: Host) -> None:
    """The journal and the status say what to write into the unit, which goes on with it."""
    host.app("payments")
    host.machine.run("rm", "/etc/systemd/system/refresherd.service.d/payments.conf")
    host.systemctl("daemon-reload")
    start = begin(host.machine)
    until(lambda: "LoadCredential=" in shown(host, "StatusText"), lambda: journal(host))
    assert "LoadCredential=" in journal(host)
    host.app("payments")
    host.systemctl("restart", SERVICE)
    start.wait(PATIENCE)
    assert host.machine.read(TOKEN) in host.statistics("payments")["tokens"]


def test_credential_that_systemd_was_not_told_of_stops_no_other_app(host: Host) -> None:
    """The unit may load one credential and the configuration ask for another."""
    host.app("payments", APP.format(name="absent"), head=f'ready = "any"\n{HEAD}')
    host.systemctl("start", SERVICE)
    assert host.machine.read(TOKEN) in host.statistics("payments")["tokens"]
    assert "add LoadCredential=absent:FILE to the unit" in journal(host)


def test_a_group_that_comes_later_stops_no_other_app(host: Host) -> None:
    """A directory service may be slower than the boot; its app goes on once the group is known."""
    path = "/run/refresherd/later.token"
    later = f"""\
[[apps.payments.files]]
path = "{path}"
group = "later"
mode = "0640"
"""
    other = '[apps.billing]\napi_key_credential = "billing"\n'
    host.app("billing")
    host.app("payments", later + other, head=f'ready = "any"\n{HEAD}')
    host.drop_in(
        "[Service]\nCapabilityBoundingSet=CAP_CHOWN\nAmbientCapabilities=CAP_CHOWN\n"
        "SystemCallFilter=@chown\n"
    )
    host.systemctl("start", SERVICE)
    until(lambda: "this host has no group 'later'" in journal(host), lambda: journal(host))
    assert host.machine.read(TOKEN) in host.statistics("payments")["tokens"]
    host.machine.run("groupadd", "later")
    until(
        lambda: host.machine.ask("stat", "--format=%G %a", path) == "later 640",
        lambda: journal(host),
    )
    host.machine.run("groupdel", "later")


def test_socket_is_there_before_the_daemon(host: Host) -> None:
    """A consumer that connects first starts the daemon and waits for its token."""
    host.app("payments")
    host.systemctl("start", SOCKET)
    assert shown(host, "ActiveState") == "inactive"
    assert token(host) in host.statistics("payments")["tokens"]
    host.systemctl(
        "start", SERVICE
    )  # joins the start that the client began: READY follows the token
    assert shown(host, "ActiveState") == "active"


def test_client_of_a_faulty_daemon_starts_it_a_few_times_only(host: Host) -> None:
    """Each waiting client makes systemd start the daemon: a typo must not keep the host busy."""
    host.app("payments", head=HEAD.replace("endpoint", "endpiont"))
    assert int(shown(host, "TriggerLimitBurst", SOCKET)) <= 60
    host.drop_in("[Socket]\nTriggerLimitBurst=2\n", unit=SOCKET)
    host.systemctl("start", SOCKET)
    with pytest.raises(AssertionError):
        token(host)
    wait_for(host, "Result", "trigger-limit-hit", SOCKET)
    host.app("payments")
    host.systemctl("start", SERVICE)
    assert token(host) in host.statistics("payments")["tokens"]


def test_each_instance_has_a_configuration(host: Host) -> None:
    """For example, two teams on one host have a daemon each."""
    host.app("payments")
    text = host.machine.read("/etc/refresherd/config.toml").replace(
        "refresherd/", "refresherd/blue/"
    )
    host.machine.write(
        "/etc/refresherd/blue/config.toml", f'{text}[api]\npath = "/run/refresherd/blue/api.sock"\n'
    )
    instance = "refresherd@blue.service"
    host.drop_in("[Service]\nLoadCredential=payments:/etc/refresherd/payments.key\n", unit=instance)
    host.systemctl("start", SERVICE, instance)
    tokens = {host.machine.read(TOKEN), host.machine.read("/run/refresherd/blue/payments.token")}
    assert len(tokens) == 2
    assert tokens <= set(host.statistics("payments")["tokens"])
    host.systemctl("stop", instance)
    assert token(host) == host.machine.read(TOKEN)


def test_a_user_for_the_time_being_will_do(host: Host) -> None:
    """With DynamicUser= the socket unit's path still serves consumers."""
    host.machine.run("userdel", "--force", "refresherd")
    host.machine.run("rm", "-r", "/etc/tmpfiles.d/refresherd.conf", "/run/refresherd")
    host.app("payments")
    host.drop_in((UNITS / "drop-ins" / "dynamic-user.conf").read_text(), "dynamic-user")
    elsewhere = "[Socket]\nListenStream=\nListenStream=/run/refresherd-api.sock\n"
    host.drop_in(elsewhere, unit=SOCKET)
    host.systemctl("start", SERVICE)
    before = token(host, "/run/refresherd-api.sock")
    assert host.machine.run("runuser", "--user", "daemon", "cat", TOKEN).stdout == before
    host.systemctl("restart", SERVICE)
    assert token(host, "/run/refresherd-api.sock") == before


def test_nothing_of_the_memory_reaches_the_disk(host: Host) -> None:
    """A dump of the process would hold every key and token."""
    host.app("payments")
    host.systemctl("start", SERVICE)
    pid = shown(host, "MainPID")
    limits = host.machine.read(f"/proc/{pid}/limits")
    assert "Max core file size        0                    0  " in limits
    # What an undumpable process has in /proc belongs to root.
    assert host.machine.ask("stat", "--format=%U", f"/proc/{pid}/mem") == "root"


def test_journal_has_fields(host: Host) -> None:
    """Operators run `journalctl APP=payments -p warning`."""
    host.app("payments")
    host.dsm("faults", {"status": 503, "times": 1})
    host.systemctl("start", SERVICE)
    options = ("--output=json", "--priority=warning", "APP=payments", f"_SYSTEMD_UNIT={SERVICE}")
    until(lambda: host.machine.ask("journalctl", *options), lambda: journal(host))
    entries = [json.loads(line) for line in host.machine.ask("journalctl", *options).splitlines()]
    assert {entry["PRIORITY"] for entry in entries} <= {"3", "4"}
