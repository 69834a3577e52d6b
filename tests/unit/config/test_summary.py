"""What `check` says that a configuration means."""

from refresherd.config import describe
from support.configurations import APP, DSM, configuration_in
from support.fakes import API_KEY


def test_a_summary_lists_what_the_apps_and_the_daemon_do() -> None:
    """It shows how long DSM may be unreachable, and no key: an argument of a hook may be one."""
    text = "[[apps.payments.files]]\npath = '/run/a'\nformat = 'env'\nmode = '0640'\n"
    text += "[[apps.payments.sockets]]\npath = '/run/b'\nowner = 'alice'\ngroup = '7'\n"
    text += "[apps.payments.access]\nusers = ['bob', '7']\nunits = ['b.service']\n"
    text += "[[apps.payments.hooks]]\ncommand = ['notify', 'hunter2']\n"
    text += "[[apps.payments.hooks]]\nsignal = 'HUP'\npid_file = '/run/a.pid'\n"
    text += APP.replace("payments", "billing")
    head = "state_dir = '/srv/state'\n[http]\nlisten = ['127.0.0.1:9749', '[::1]:0']\n"
    lines = list(describe(configuration_in(f"{head}{DSM}{APP}at = 0.4\n{text}")))
    assert lines == [
        "payments: an API key in the environment, https://amer.smartkey.io, renewed by reauth",
        "  file /run/a: env, mode 0640",
        "  socket /run/b: raw, mode 0600, owner alice, group 7",
        "  access: users bob, 7; units b.service",
        "  hook: notify",
        "  hook: HUP to the process in /run/a.pid",
        "  outage budget: 60% of a token's lifetime, 360 s of the usual 600 s",
        "billing: an API key in the environment, https://amer.smartkey.io, renewed by reauth",
        "  no outputs",
        "  access: only root and the daemon's user",
        "  outage budget: 50% of a token's lifetime, 300 s of the usual 600 s",
        "API socket /run/refresherd/api.sock: mode 0666",
        "HTTP listener 127.0.0.1:9749: metrics and health",
        "HTTP listener [::1]:0: metrics and health",
        "state directory /srv/state",
    ]
    assert API_KEY not in "".join(lines)


def test_a_summary_says_what_is_turned_off() -> None:
    """An operator who looks for a listener must not have to know the defaults."""
    head = "[api]\npath = ''\n[http]\nlisten = []\n"
    lines = list(describe(configuration_in(f"{head}{DSM}{APP}")))
    assert lines[-3:] == ["no API socket", "no HTTP listener", "no state directory"]
