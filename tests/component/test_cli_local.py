"""The commands that need no daemon: what they print and return."""

import io
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from refresherd import cli
from refresherd.cli.command_line import main
from refresherd.config import Configuration
from refresherd.daemon import daemon, oneshot
from refresherd.daemon.oneshot import Verdict
from support.configurations import APP, DSM, ENVIRON

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a valid configuration of two apps, which $REFRESHERD_CONFIG names."""
    path = tmp_path / "config.toml"
    path.write_text(f"{DSM}{APP}{APP.replace('payments', 'orders')}")
    monkeypatch.setenv("REFRESHERD_CONFIG", str(path))
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    return path


def test_check_prints_a_summary(config: Path, capsys: Capture) -> None:
    """It shows whether the configuration says what its author meant."""
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    assert "payments" in out
    assert "orders" in out
    assert config.exists()


def test_check_prints_each_fault_on_a_line(config: Path, capsys: Capture) -> None:
    """Editors jump to FILE:LINE."""
    config.write_text(f'{DSM}colour = "red"\n{APP}at = 2\n')
    assert main(["check", "--config", str(config)]) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.startswith(f"{config}:") for line in err.splitlines()] == [True, True]


def test_check_warns_and_succeeds(config: Path, capsys: Capture) -> None:
    """Warnings, here about a token that others may read, go to standard error."""
    key = config.with_name("payments.key")
    key.write_text(ENVIRON["FORTANIX_API_KEY"])
    key.chmod(0o600)
    file = '[[apps.payments.files]]\npath = "x.token"\nmode = "0644"\n'
    config.write_text(f'{DSM}[apps.payments]\napi_key_file = "payments.key"\n{file}')
    assert main(["check"]) == 0
    out, err = capsys.readouterr()
    assert "0644" in err
    assert "warning" not in out


def test_schema_prints_json(capsys: Capture) -> None:
    """The output can be redirected to a file for an editor."""
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["properties"]["apps"]


@pytest.fixture
def verdicts(monkeypatch: pytest.MonkeyPatch) -> dict[str, Verdict]:
    """Return the verdicts that `once` will give, by app; other apps succeed."""
    given: dict[str, Verdict] = {}

    async def once_with(
        configuration: Configuration, _: Mapping[str, str], timeout: float
    ) -> tuple[Verdict, ...]:
        assert timeout == 60.0
        served = {app.name: Verdict(app.name, (), rejected=False) for app in configuration.apps}
        return tuple((served | given)[name] for name in served)

    monkeypatch.setattr(oneshot, "once", once_with)
    return given


def test_once_serves_all_apps(config: Path, verdicts: dict[str, Verdict], capsys: Capture) -> None:
    """The log of an init container shows what was done."""
    assert main(["once", "--config", str(config)]) == 0
    assert not verdicts
    assert capsys.readouterr() == ("payments: done\norders: done\n", "")


def test_once_serves_only_the_named_apps(
    config: Path, verdicts: dict[str, Verdict], capsys: Capture
) -> None:
    """A job needs only its own app's token."""
    assert main(["once", "--config", str(config), "--app", "orders"]) == 0
    assert not verdicts
    assert capsys.readouterr().out == "orders: done\n"


def test_once_answers_an_unknown_app_with_the_known_ones(config: Path, capsys: Capture) -> None:
    """A misspelt app is a usage error."""
    assert main(["once", "--config", str(config), "--app", "order"]) == 64
    expected = 'refresherd once: there is no app named "order"; the apps are: payments, orders\n'
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(("rejected", "status"), [(False, 75), (True, 77)])
def test_once_prints_which_app_failed_and_why(
    rejected: bool,  # noqa: FBT001  # a test's parameter
    status: int,
    config: Path,
    verdicts: dict[str, Verdict],
    capsys: Capture,
) -> None:
    """The status shows whether trying again can help."""
    verdicts["payments"] = Verdict("payments", ("no valid token", "x is behind"), rejected=rejected)
    assert main(["once", "--config", str(config)]) == status
    assert capsys.readouterr() == ("orders: done\n", "payments: no valid token; x is behind\n")


@pytest.fixture
def _mask() -> Iterator[None]:
    """Restore this thread's signal mask."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


@pytest.mark.usefixtures("_mask")
def test_run_runs_the_configured_daemon(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HUP and USR1 that come before it handles signals must wait, and not end it."""
    ran: list[str] = []

    def run(configuration: Configuration, environ: Mapping[str, str]) -> None:
        held = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        assert held >= {signal.SIGHUP, signal.SIGUSR1}
        assert environ is os.environ
        ran.extend(app.name for app in configuration.apps)

    monkeypatch.setattr(daemon, "run", run)
    assert cli.main(["run", "--config", str(config)]) == 0
    assert ran == ["payments", "orders"]


class EndingStream(io.StringIO):
    """Ends the emulator as soon as its greeting has been printed."""

    def flush(self) -> None:
        """Send TERM, once."""
        if "# statistics" in self.getvalue() and not self.closed:
            os.kill(os.getpid(), signal.SIGTERM)
            self.flush = super().flush  # type: ignore[method-assign]  # once is enough


@pytest.mark.parametrize("options", [(), ("--tls",)])
def test_emulator_prints_all_that_is_needed_to_use_it(
    options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint, the keys and commands to copy; TERM ends it with status 0."""
    stream = EndingStream()
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["emulator", "--apps", "2", *options]) == 0
    text = stream.getvalue()
    assert text.startswith("endpoint: http")
    assert text.count("\napi_key: ") == 2
    assert ("\nca_file: " in text) == ("curl --cacert" in text) == bool(options)


def test_emulator_cannot_listen_on_an_address(capsys: Capture) -> None:
    """One line names the address, in place of a traceback."""
    assert main(["emulator", "--listen", "192.0.2.1:1"]) == 69
    expected = "refresherd emulator: cannot listen on 192.0.2.1:1"
    assert capsys.readouterr().err.startswith(expected)
