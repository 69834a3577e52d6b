"""The shipped rules and dashboard on a real Prometheus, while faults are ordered from the emulator.

All faults come at once, each to an app of its own, and end at once: one after the other they would
take ten minutes.
"""

import json
import os
import re
import signal
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from support.monitoring import (
    DEPLOY,
    RULES,
    Notice,
    Prometheus,
    Webhook,
    alertmanager,
    faster_rules,
    free_port,
    prometheus,
)
from support.not_proven import BUSY, REASON, Stopwatch
from support.programs import PATIENCE, Dsm, emulator, running

pytestmark = pytest.mark.timeout(240)

FILES = '[[apps.{0}.files]]\npath = "{0}/token"\n'

HOOK = '[[apps.hook.hooks]]\ncommand = ["test", "-e", "{}"]\n'

Alert = tuple[str, str]
"""An alert's name, and the app that it is about, "" for the daemon."""

FAULTS: frozenset[Alert] = frozenset(
    {
        ("RefresherdRefreshFailing", "outage"),
        ("RefresherdTokenExpiresSoon", "outage"),
        ("RefresherdTokenExpired", "outage"),
        ("RefresherdCredentialRefused", "refused"),
        ("RefresherdTokenExpired", "refused"),
        ("RefresherdOutputBehind", "output"),
        ("RefresherdHookFailing", "hook"),
        ("RefresherdDsmSlow", ""),
        ("RefresherdReloadRefused", ""),
    }
)
"""What the faults raise, and what ends with them."""

REFUSED_LOGINS = ("RefresherdLoginBudgetHalfUsed", "refused")
"""What the faults raise, and what only the next process forgets."""

KILLS: frozenset[Alert] = frozenset({("RefresherdDown", ""), ("RefresherdRestarting", "")})
"""What comes of killing the daemon again and again, and ends by itself."""

RAISED = [*sorted(FAULTS), REFUSED_LOGINS, *sorted(KILLS)]

ALL_READY = "count(refresherd_app_ready == 1) == 7"

SELECTOR = re.compile(r"\b((?:refresherd|process)[_:][\w:]+|up|ALERTS)(?![\w(])(\{[^}]*\})?")

GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right) \(([^)]*)\)")

FREE = {"job", "instance", "app", "endpoint", "output"}
"""Labels whose values differ from host to host."""

VARIABLES = {"$instance": ".*", "$app": ".*", "$__rate_interval": "5s", "$__range": "2m"}
"""What Grafana puts in place of the dashboard's variables: everything that there is."""


class Host:
    """A daemon with an app for each fault, and one without any."""

    def __init__(self, directory: Path, dsm: Dsm) -> None:
        self.directory = directory
        self.address = f"127.0.0.1:{free_port()}"
        self.config = directory / "config.toml"
        self._control = f"{dsm.url}/control"
        self._tls = ssl.create_default_context(cafile=dsm.ca_file)
        # A name of its own for the same DSM, so that its answers are measured apart.
        slow = f'at = 0.1\njitter = 0.0\nendpoint = "{dsm.url.replace("127.0.0.1", "localhost")}"\n'
        sections = [
            f'[http]\nlisten = ["{self.address}"]\n[api]\npath = "api.sock"\n',
            f'[dsm]\nendpoint = "{dsm.url}"\nca_file = "{dsm.ca_file}"\n',
            '[refresh]\nretry_min = "200ms"\nretry_max = "1s"\n',
        ]
        for app in ("steady", "outage", "refused", "output", "hook", "slow"):
            made = self.order("apps", name=app, lifetime=20 if app == "outage" else 12)
            key_file = directory / f"{app}.key"
            key_file.touch(mode=0o600)
            key_file.write_text(made["api_key"])
            (directory / app).mkdir()
            sections += [f'[apps.{app}]\napi_key_file = "{app}.key"\n', slow * (app == "slow")]
            sections += [FILES.format(app), HOOK.format(directory / "flag") * (app == "hook")]
        made = self.order("apps", name="certified", certificate=True)
        sections.append(f'[apps.certified]\napp_id = "{made["id"]}"\n')
        sections.append(f'cert_file = "{made["cert_file"]}"\nkey_file = "{made["key_file"]}"\n')
        self.config.write_text("".join(sections))
        (directory / "flag").touch()

    def order(self, path: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401  # as JSON has it
        """Give the emulator an order, and return its answer."""
        answer = httpx.post(f"{self._control}/{path}", json=body, verify=self._tls, trust_env=False)
        made: dict[str, Any] = answer.raise_for_status().json()
        return made

    def start(self, stack: ExitStack) -> int:
        """Run the daemon until it is killed, or the stack ends; return its process id."""
        log, config = self.directory / "log", str(self.config)
        return stack.enter_context(running("run", "--config", config, stderr=log)).pid

    def break_everything(self, pid: int) -> None:
        """Order all faults but the slow answers."""
        self.order("faults", app="outage", status=500)
        self.order("faults", app="refused", status=401)
        (self.directory / "output").rename(self.directory / "away")
        (self.directory / "flag").unlink()
        self.config.write_text(f"shutdwon = 'keep'\n{self.config.read_text()}")
        os.kill(pid, signal.SIGHUP)

    def refresh(self, app: str, *, times: int) -> None:
        """Ask the daemon for refreshes, as `refresherd refresh` does."""
        transport = httpx.HTTPTransport(uds=str(self.directory / "api.sock"))
        with httpx.Client(transport=transport, timeout=PATIENCE) as client:
            for _ in range(times):
                client.post(f"http://localhost/v1/apps/{app}/refresh")

    def heal(self, pid: int) -> None:
        """End all faults."""
        ended = httpx.delete(f"{self._control}/faults", verify=self._tls, trust_env=False)
        ended.raise_for_status()
        self.refresh("refused", times=1)
        (self.directory / "away").rename(self.directory / "output")
        (self.directory / "flag").touch()
        self.config.write_text(self.config.read_text().partition("\n")[2])
        os.kill(pid, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Story:
    """What was reported while the faults came and went, and the Prometheus that saw it."""

    notices: list[Notice]
    prometheus: Prometheus
    began_at: float
    pressure: float
    """The share of the time in which something waited for a processor or a disk."""

    def labels(self, selector: str) -> set[str]:
        """Return the labels of the series that a selector found at any time."""
        found = self.prometheus.query(f"last_over_time({selector}[3m])")
        return {label for series in found for label in series["metric"]}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    """Inflict the faults, and yield what came of them."""
    directory, began_at = tmp_path_factory.mktemp("monitored"), time.time()
    stopwatch = Stopwatch()
    with ExitStack() as stack:
        webhook = stack.enter_context(Webhook())
        manager = stack.enter_context(alertmanager(directory, webhook.url))
        host = Host(directory, stack.enter_context(emulator("--tls")))
        pid = host.start(stack)
        seen = stack.enter_context(
            prometheus(directory, "scrape.yml", host.address, faster_rules(), manager)
        )
        seen.until(ALL_READY)
        host.break_everything(pid)
        seen.until(
            'refresherd_refresh_duration_seconds_count{endpoint=~".*localhost.*", method="reauth"}'
            " > 12"
        )
        host.order("faults", app="slow", operation="reauth", delay=0.5)
        host.refresh("refused", times=25)
        webhook.until("firing", *FAULTS, REFUSED_LOGINS)
        host.heal(pid)
        webhook.until("resolved", *FAULTS)
        for restarts in (1, 2, 3):
            os.kill(pid, signal.SIGKILL)
            pid = host.start(stack)
            seen.until(f'changes(process_start_time_seconds{{job="refresherd"}}[2m]) == {restarts}')
        webhook.until("firing", ("RefresherdRestarting", ""))
        os.kill(pid, signal.SIGKILL)
        webhook.until("firing", ("RefresherdDown", ""))
        host.start(stack)
        webhook.until("resolved", *KILLS, REFUSED_LOGINS)
        seen.until(ALL_READY)
        yield Story(webhook.notices, seen, began_at, stopwatch.pressure())


@pytest.mark.parametrize("alert", RAISED, ids=" ".join)
def test_an_alert_arrives_and_ends(alert: Alert, story: Story) -> None:
    """An operator is told once that something is wrong, and once that it is over."""
    told = [notice.status for notice in story.notices if notice.what == alert]
    assert (told[0], told[-1]) == ("firing", "resolved")


def test_no_other_alert_arrives(story: Story) -> None:
    """Whoever is paged for nothing stops looking; one app's trouble is not another's."""
    raised = {notice.what for notice in story.notices}
    # Where healing takes long enough, the output's other alert arrives as well, and rightly.
    raised.discard(("RefresherdOutputFailing", "output"))
    if raised > set(RAISED) and story.pressure >= BUSY:
        # With scrapes a second apart, a daemon that waits for a processor is late or down.
        pytest.skip(REASON)
    assert raised == set(RAISED)


def test_alerts_name_what_they_are_about(story: Story) -> None:
    """At night nobody guesses what was meant by an empty place in a sentence."""
    for notice in story.notices:
        for text in notice.annotations.values():
            assert not re.search(r"<no value>|<error|{{|  | $", text), text
        assert notice.labels.get("app", "") in notice.annotations["summary"]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield each expression of the rules and the dashboard, after what it belongs to."""
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for title, query, _ in queries():
        yield title, query


def queries() -> Iterator[tuple[str, str, bool]]:
    """Yield the dashboard's queries: the panel's title, the query, and whether it is instant."""
    dashboard = json.loads((DEPLOY / "grafana" / "refresherd.json").read_text())
    targets = [(p["title"], target) for p in dashboard["panels"] for target in p.get("targets", ())]
    targets += [(one["name"], one) for one in dashboard["annotations"]["list"]]
    for title, target in targets:
        query = target["expr"]
        for variable, value in VARIABLES.items():
            query = query.replace(variable, value)
        yield title, query, target.get("instant", False)


def by_name(found: Iterable[tuple[Any, ...]]) -> list[Any]:
    """Return a test's parameters, each of which is named by its first value."""
    return [pytest.param(*values, id=name) for name, *values in found]


def simulated() -> set[str]:
    """Return the series that the tests of the rules make up."""
    found: set[str] = set()
    for path in RULES.parent.glob("*.test.yml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            found |= {one["series"] for one in test["input_series"]}
    return found


@pytest.mark.parametrize("expression", by_name(expressions()))
def test_metrics_and_labels_exist(expression: str, story: Story) -> None:
    """A rule on a series that the daemon does not have never fires, and nobody notices."""
    labels: set[str] = set()
    for metric, matchers in SELECTOR.findall(expression):
        found = story.labels(metric + matchers)
        assert found, metric + matchers
        labels |= found
    grouped = {label.strip() for text in GROUPING.findall(expression) for label in text.split(",")}
    assert grouped - {""} <= labels


@pytest.mark.parametrize("series", sorted(simulated()))
def test_the_tests_of_the_rules_use_series_that_exist(series: str, story: Story) -> None:
    """Otherwise they would prove that a rule works for another daemon."""
    name, _, labels = series.rstrip("}").partition("{")
    given = dict(re.findall(r'(\w+)="([^"]*)"', labels))
    fixed = ",".join(f'{label}="{given[label]}"' for label in given.keys() - FREE)
    found = story.labels(f"{name}{{{fixed}}}")
    assert found - {"__name__", "job", "instance"} == given.keys() - {"job", "instance"}


@pytest.mark.parametrize(("query", "instant"), by_name(queries()))
def test_the_dashboard_shows_data(query: str, story: Story, *, instant: bool) -> None:
    """A panel that stays empty is taken for good news."""
    if instant:
        assert story.prometheus.query(query)
        return
    found = story.prometheus.query_range(query, story.began_at)
    values = [value for series in found for _, value in series["values"]]
    assert [value for value in values if value != "NaN"]
