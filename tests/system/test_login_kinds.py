"""LDAP apps, certificate apps and bound sessions: the installed daemon against the emulator."""

import json
import re
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.programs import PATIENCE, command, emulator, eventually, running


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """Run an emulator with an app of each kind; yield its directory, with a configuration."""
    options = ("--certificate-apps", "1", "--ldap-apps", "1", "--lifetime", "6")
    with emulator("--tls", "--dir", str(tmp_path / "dsm"), *options):
        yield tmp_path / "dsm"


def fetch(directory: Path, path: str, token: str = "", body: object = None) -> Any:  # noqa: ANN401
    """Return what the emulator answers to a consumer that has no certificate."""
    config = (directory / "config.toml").read_text()
    (url,) = re.findall('^endpoint = "(.*)"', config, re.MULTILINE)
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + path, data)  # noqa: S310  # the emulator's
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    with urllib.request.urlopen(request, timeout=PATIENCE, context=context) as answer:  # noqa: S310
        return json.load(answer)


def ids(directory: Path) -> dict[str, str]:
    """Return the UUID of each app."""
    return {app["name"]: app["id"] for app in fetch(directory, "/control/apps")["apps"]}


def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def daemon(directory: Path) -> Iterator[Path]:
    """Run the daemon on the emulator's configuration; yield its log."""
    log = directory.parent / "log"
    with running("run", "--config", str(directory / "config.toml"), stderr=log):
        yield log


def status(directory: Path, app: str) -> dict[str, Any]:
    """Return an app's status."""
    done = command("status", app, "--json", "--socket", str(directory / "api.sock"))
    return dict(json.loads(done.stdout))


def bind(directory: Path, app: str, target: str) -> None:
    """Bind an app's sessions to another app."""
    config = directory / "config.toml"
    table = f"[apps.{app}]\n"
    text = re.sub("bind_to = .*\n", "", config.read_text())
    config.write_text(text.replace(table, f'{table}bind_to = "{target}"\n'))


def test_a_host_with_a_certificate_serves_consumers_that_have_none(directory: Path) -> None:
    """Every token that they ever find works, so none may be unbound after a renewal either."""
    bind(directory, "app-2", ids(directory)["app-1"])
    seen: set[str] = set()
    with daemon(directory) as log:
        token = eventually(directory / "app-2.token")
        while len(seen) < 3:
            assert fetch(directory, "/crypto/v1/keys", token) == []
            seen.add(token)
            until(lambda: (directory / "app-2.token").read_text() not in seen)
            token = (directory / "app-2.token").read_text()
    assert "entity mismatch" not in log.read_text()
    assert "reauth" not in {
        json.loads(line).get("method")
        for line in log.read_text().splitlines()
        if json.loads(line).get("app") == "app-2"
    }


def test_a_changed_bind_to_means_a_new_session_at_a_reload(directory: Path) -> None:
    """The old token is another app's consumers', and must not stay where these read."""
    first, _, third = ids(directory).values()
    bind(directory, "app-2", first)
    with running("run", "--config", str(directory / "config.toml")) as process:
        old = eventually(directory / "app-2.token")
        bind(directory, "app-2", third)
        process.send_signal(1)
        until(lambda: status(directory, "app-2")["generation"] > 1)
        until(lambda: (directory / "app-2.token").read_text() != old)
        answer = command(
            "token", "app-2", "--format", "json", "--socket", str(directory / "api.sock")
        )
        assert json.loads(answer.stdout)["entity_id"] == third


def test_a_target_that_dsm_does_not_know_is_refused_in_dsms_words(directory: Path) -> None:
    """The operator has mistyped a UUID."""
    unknown = "0c7f1a52-3f1e-4b61-9d0a-7f1f4f2f9b10"
    bind(directory, "app-1", unknown)
    with daemon(directory):
        eventually(directory / "app-2.token")
        until(lambda: status(directory, "app-1")["last_error"] is not None)
        error = status(directory, "app-1")["last_error"]
    assert f"bind_to.app: there is no app {unknown}" in error


def test_a_wrong_password_is_tried_once_and_a_corrected_one_at_once(directory: Path) -> None:
    """An LDAP server may lock the account, and the daemon's log must not show the password."""
    password = directory / "app-3.password"
    right = password.read_text()
    password.write_text("wrong horse battery\n")
    with daemon(directory) as log:
        eventually(directory / "app-1.token")
        until(lambda: status(directory, "app-3")["state"] == "rejected")
        time.sleep(3.0)
        counts = {app["name"]: app for app in fetch(directory, "/control/statistics")["apps"]}
        assert counts["app-3"]["failed_logins"] == 1
        password.write_text(right + "\n")
        token = eventually(directory / "app-3.token")
        assert fetch(directory, "/crypto/v1/keys", token) == []
    text = log.read_text()
    assert "wrong horse" not in text
    assert right not in text


def test_the_expiry_of_a_client_certificate_is_a_metric(directory: Path) -> None:
    """Dashboards count the days; apps without a certificate have no such series."""
    config = directory / "config.toml"
    config.write_text(config.read_text().replace("listen = []", 'listen = ["127.0.0.1:0"]'))
    with daemon(directory) as log:
        eventually(directory / "app-2.token")
        (address,) = set(re.findall(r"127\.0\.0\.1:\d+", log.read_text().splitlines()[0]))
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=PATIENCE) as answer:
            text = answer.read().decode()
    name = "refresherd_client_certificate_expiry_timestamp_seconds"
    found = re.findall(rf"^{name}{{(.*)}} (.*)$", text, re.MULTILINE)
    days = (float(found[0][1]) - time.time()) / 86_400
    assert [labels for labels, _ in found] == ['app="app-2"']
    assert 3649 < days <= 3650
