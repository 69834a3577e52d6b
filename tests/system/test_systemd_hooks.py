"""A hook of the hardened daemon that reloads a service."""

from support.lab import needs_tool
from support.nspawn import until
from support.systemd_host import SERVICE, UNITS, Host, journal

HOOK = """\
[[apps.payments.hooks]]
command = ["systemctl", "reload", "payments.service"]
"""

RELOADS = """\
[Service]
ExecStart=sleep infinity
ExecReload=touch /run/reloaded
"""


def polkit_rule() -> str:
    """Return the polkit rule from the example of a consumer."""
    text = (UNITS / "examples" / "payments.service").read_text()
    lines = [line.removeprefix("#     ") for line in text.splitlines() if line.startswith("#     ")]
    return "\n".join(lines[lines.index("polkit.addRule(function(action, subject) {") :])


def test_a_hook_may_do_what_polkit_allows(host: Host) -> None:
    """The daemon has no privileges; the rule in the example is enough."""
    needs_tool("pkcheck")
    host.machine.write("/etc/polkit-1/rules.d/refresherd.rules", polkit_rule())
    host.unit("payments.service", RELOADS)
    host.unit("other.service", RELOADS.replace("reloaded", "other"))
    host.systemctl("start", "payments.service", "other.service")
    host.app("payments", HOOK + HOOK.replace("payments.service", "other.service"))
    host.systemctl("start", SERVICE)
    reloaded, other = host.machine.root / "run/reloaded", host.machine.root / "run/other"
    until(reloaded.exists, lambda: journal(host))
    until(lambda: "Interactive authentication required" in journal(host), lambda: journal(host))
    assert not other.exists()
