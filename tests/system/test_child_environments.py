"""The environments of all programs that refresherd runs: none has another app's API key."""

from pathlib import Path

from support.programs import Workplace, command, emulator, eventually, running

APPS = """
[apps.ledger]
api_key_env = "LEDGER_KEY"

[apps.orders]
api_key_env = "FORTANIX_API_KEY"

[apps.payments]
api_key_command = ["sh", "-c", "cp /proc/self/environ by-command && cat payments.key"]
[[apps.payments.hooks]]
command = ["sh", "-c", "cp /proc/self/environ {0}/by-hook.new && mv {0}/by-hook.new {0}/by-hook"]
[[apps.payments.files]]
path = "payments.token"
"""


def variables(environ: str) -> dict[str, str]:
    """Return the variables in a text of /proc/PID/environ."""
    return dict(entry.split("=", 1) for entry in environ.strip("\0").split("\0"))


def test_no_program_gets_the_key_of_another_app(tmp_path: Path) -> None:
    """A password manager or a service that dumps its environment must give away no other app."""
    with emulator("--apps=3") as dsm:
        ledger, orders, payments = dsm.api_keys
        workplace = Workplace(tmp_path, dsm)
        workplace.sections.append(APPS.format(tmp_path))
        (tmp_path / "payments.key").write_text(payments)
        config = str(workplace.write())
        keys = {"LEDGER_KEY": ledger, "FORTANIX_API_KEY": orders}
        environ = {**keys, "VAULT_ADDR": "https://vault", "NOTIFY_SOCKET": str(tmp_path / "none")}
        log = tmp_path / "log"
        with running("run", "--config", config, environ=environ, stderr=log, directory=tmp_path):
            by_hook = variables(eventually(tmp_path / "by-hook"))
            by_command = variables((tmp_path / "by-command").read_text())
            api = str(tmp_path / "api.sock")
            done = command("wait", "--socket", api)
            assert done.returncode == 0, done.stderr
            words = ("exec", "--socket", api, "payments", "--", "cat", "/proc/self/environ")
            by_exec = variables(command(*words, environ={"OF_CALLER": "1"}).stdout)
    for found in (by_hook, by_command, by_exec):
        assert "LEDGER_KEY" not in found
        assert not {ledger, orders, payments} & {*found.values()}
    assert by_command["VAULT_ADDR"] == "https://vault"
    assert not {"FORTANIX_API_KEY", "NOTIFY_SOCKET"} & {*by_command}
    assert {*by_hook} <= {
        *("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "TZ", "USER", "XDG_RUNTIME_DIR", "PWD"),
        *("REFRESHERD_APP", "REFRESHERD_GENERATION", "SHLVL", "_", "OLDPWD"),
    }
    assert by_exec["OF_CALLER"] == "1"
    assert by_exec["FORTANIX_ACCESS_TOKEN"] == (tmp_path / "payments.token").read_text()
