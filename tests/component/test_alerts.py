"""The shipped alerts: promtool runs their tests, and the documentation says what they mean."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.documentation import CHECKOUT, anchors, rows
from support.lab import needs_tool

PLACE = CHECKOUT / "deploy" / "prometheus"
RULES = PLACE / "refresherd.rules.yml"
TESTS = sorted(PLACE.glob("*.test.yml"))
DOCS = CHECKOUT / "docs"

(GROUP,) = yaml.safe_load(RULES.read_text())["groups"]
ALERTS: Mapping[str, Mapping[str, Any]] = {
    rule["alert"]: rule for rule in GROUP["rules"] if "alert" in rule
}


def promtool(*arguments: str | Path) -> None:
    """Run promtool, and fail with what it complains about."""
    command = [needs_tool("promtool"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def expectations() -> Iterator[Mapping[str, Any]]:
    """Yield what the tests of the rules expect."""
    for path in TESTS:
        for test in yaml.safe_load(path.read_text())["tests"]:
            yield from test["promql_expr_test"]


def raised() -> Iterator[tuple[str, set[str]]]:
    """Yield the alerts that fire in the tests of the rules, each with its labels."""
    for expected in expectations():
        for sample in expected["exp_samples"]:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
            if labels.get("alertstate") == "firing":
                yield labels.pop("alertname"), set(labels)


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_the_tests_of_the_rules_pass(path: Path) -> None:
    """They say when each alert fires, and when it does not."""
    promtool("test", "rules", path)


def test_prometheus_accepts_rules_and_scrape_jobs() -> None:
    """An operator installs them as they are."""
    promtool("check", "rules", RULES)
    for scrape in PLACE.glob("scrape*.yml"):
        promtool("check", "config", "--syntax-only", scrape)


def test_each_alert_is_tested() -> None:
    """An alert that cannot fire looks like an alert that has no reason to."""
    assert {alert for alert, _ in raised()} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_it_means_and_what_to_do(name: str) -> None:
    """Whoever is woken up may never have heard of refresherd."""
    alert = ALERTS[name]
    assert alert["labels"]["severity"] in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "consequence", "action", "runbook"}
    page, _, anchor = alert["annotations"]["runbook"].partition("#")
    assert anchor == name.lower()
    assert anchor in anchors(CHECKOUT / page)
    texts = " ".join(alert["annotations"].values())
    # Without a job, nothing can be said about where it is.
    needed = set(re.findall(r"(?<!with )\$labels\.(\w+)", texts))
    for fired, labels in raised():
        assert fired != name or needed <= labels


def test_the_page_lists_the_alerts_and_records() -> None:
    """An operator decides by this table what to install, and writes queries by the other."""
    alerts, records = {}, set()
    for row in rows(DOCS / "monitoring.md", "Alerts"):
        names = re.findall(r"`([\w:]+)`", row[0])
        if len(row) == 3:
            alerts[names[0]] = row[1]
            assert f"(troubleshooting.md#{names[0].lower()})" in row[0]
        else:
            records |= set(names)
    assert alerts == {name: alert["labels"]["severity"] for name, alert in ALERTS.items()}
    assert records == {rule["record"] for rule in GROUP["rules"] if "record" in rule}
