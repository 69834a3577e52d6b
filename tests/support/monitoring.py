"""A real Prometheus and a real Alertmanager on the files in `deploy/`, only faster."""

import json
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from support.documentation import CHECKOUT, blocks
from support.lab import needs_tool
from support.programs import PATIENCE

DEPLOY = CHECKOUT / "deploy"
RULES = DEPLOY / "prometheus" / "refresherd.rules.yml"
MONITORING = CHECKOUT / "docs" / "monitoring.md"

FASTER: Mapping[str, str] = {
    "15s": "1s",
    "30s": "5s",
    "1m": "2s",
    "10m": "2s",
    "15m": "30s",
    "20m": "10s",
    "30m": "12s",
    "1h": "15s",
    "1d": "10m",
}
"""The durations of the rules, and what a test waits for instead."""


def faster_rules() -> str:
    """Return the rules as they are shipped but for their durations."""
    text = re.sub(r"\[(\d+[smhd])\]", lambda found: f"[{FASTER[found[1]]}]", RULES.read_text())
    return re.sub(r"(?m)^( +(?:for|interval): )(\S+)$", lambda f: f[1] + FASTER[f[2]], text)


@dataclass(frozen=True, slots=True)
class Notice:
    """An alert as Alertmanager reports it."""

    status: str
    """`firing` or `resolved`."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def what(self) -> tuple[str, str]:
        """The alert, and the app that it is about, "" for the daemon."""
        return self.labels["alertname"], self.labels.get("app", "")


class Webhook(ThreadingHTTPServer):
    """Receives what Alertmanager reports, while a `with` block runs."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.notices: list[Notice] = []
        self._more = threading.Condition()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def receive(self, report: Mapping[str, Any]) -> None:
        """Take a report's alerts down."""
        with self._more:
            for alert in report["alerts"]:
                notice = Notice(alert["status"], alert["labels"], alert["annotations"])
                self.notices.append(notice)
            self._more.notify_all()

    def until(self, status: str, *alerts: tuple[str, str], patience: float = 30.0) -> None:
        """Return once each of the alerts was reported with a status."""

        def missing() -> set[tuple[str, str]]:
            seen = {notice.what for notice in self.notices if notice.status == status}
            return set(alerts) - seen

        with self._more:
            arrived = self._more.wait_for(lambda: not missing(), patience)
            seen = ", ".join(f"{notice.what[0]} {notice.status}" for notice in self.notices)
            assert arrived, f"not {status}: {missing()}, but {seen}"


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Webhook)
        self.server.receive(json.loads(body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Prometheus:
    """A running Prometheus."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series of an expression now."""
        return self._get("query", query=expression)

    def query_range(self, expression: str, since: float) -> list[dict[str, Any]]:
        """Return the series of an expression from a time on, in unix seconds, with their values."""
        times = {"start": since, "end": time.time(), "step": 1.0}
        return self._get("query_range", query=expression, **times)

    def until(self, expression: str) -> None:
        """Return once an expression has a series."""
        deadline = time.monotonic() + 2 * PATIENCE
        while not self.query(expression):
            assert time.monotonic() < deadline, expression
            time.sleep(0.1)

    def _get(self, path: str, **parameters: str | float) -> list[dict[str, Any]]:
        answer = self._client.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        series: list[dict[str, Any]] = answer["data"]["result"]
        return series


@contextmanager
def alertmanager(directory: Path, webhook: str) -> Iterator[str]:
    """Run an Alertmanager on the documented configuration; yield its address."""
    program = needs_tool("prometheus-alertmanager")
    documented = next(block for block in blocks(MONITORING) if block.file == "alertmanager.yml")
    config = yaml.safe_load(documented.text)
    config["route"] |= {"group_wait": "100ms", "group_interval": "1s"}
    (receiver,) = config["receivers"]
    receiver["webhook_configs"] = [{"url": webhook, "send_resolved": True}]
    (directory / "alertmanager.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    options = {
        "config.file": "alertmanager.yml",
        "storage.path": "alertmanager",
        "web.listen-address": address,
        "cluster.listen-address": "",
    }
    with _running(program, options, directory, address):
        yield address


@contextmanager
def prometheus(
    directory: Path, scrape: str, target: str, rules: str = "", alerts_to: str = ""
) -> Iterator[Prometheus]:
    """Run a Prometheus on one of the shipped scrape configurations, with another target.

    `alerts_to` is an Alertmanager's address.
    """
    program = needs_tool("prometheus")
    (job,) = yaml.safe_load((DEPLOY / "prometheus" / scrape).read_text())["scrape_configs"]
    job |= {"scrape_interval": "1s", "static_configs": [{"targets": [target]}]}
    config: dict[str, Any] = {"scrape_configs": [job], "rule_files": ["rules.yml"]}
    if alerts_to:
        managers = [{"static_configs": [{"targets": [alerts_to]}]}]
        config["alerting"] = {"alertmanagers": managers}
    (directory / "prometheus.yml").write_text(json.dumps(config))
    (directory / "rules.yml").write_text(rules)
    address = f"127.0.0.1:{free_port()}"
    options = {
        "config.file": "prometheus.yml",
        "storage.tsdb.path": "prometheus",
        "web.listen-address": address,
    }
    client = httpx.Client(base_url=f"http://{address}", timeout=PATIENCE, trust_env=False)
    with _running(program, options, directory, address), client:
        yield Prometheus(client)


@contextmanager
def _running(
    program: str, options: Mapping[str, str], directory: Path, address: str
) -> Iterator[None]:
    """Run one of Prometheus' programs from the time on when it says that it is ready."""
    arguments = [program, *(f"--{option}={value}" for option, value in options.items())]
    log = directory / f"{Path(program).name}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(arguments, cwd=directory, stdout=stream, stderr=stream)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _ready(address):
            assert time.monotonic() < deadline, log.read_text()
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE)
        finally:
            process.kill()


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


def free_port() -> int:
    """Return a port on loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
