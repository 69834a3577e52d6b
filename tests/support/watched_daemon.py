"""A daemon with apps in every kind of trouble, for those who look at its status."""

import json
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.programs import Dsm, Workplace, emulator, running

HEALTHY = ("checkout", "invoices", "ledger")
TROUBLED = {
    "orders": "rejected",
    "shipping": "starting",
    "audit": "fresh",
    "reports": "fresh",
}
"""The states of the apps in trouble."""

FILES = '[[apps.{0}.files]]\npath = "{0}.token"\n'


@dataclass
class Watched:
    """A daemon with apps in every kind of trouble, and where its page is."""

    place: Path
    url: str
    dsm: Dsm
    start: Callable[[], None]
    stop: Callable[[], None]

    def facts(self) -> dict[str, Any]:
        """Return what the page shows, for programs."""
        with urllib.request.urlopen(f"{self.url}status.json", timeout=10) as answer:  # noqa: S310
            facts: dict[str, Any] = json.loads(answer.read())
            return facts

    def await_facts(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the facts as soon as a condition holds of them."""
        deadline = time.monotonic() + 30
        while True:
            try:
                facts = self.facts()
            except OSError:
                facts = {}
            if facts and holds(facts):
                return facts
            assert time.monotonic() < deadline, facts
            time.sleep(0.1)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def states(facts: dict[str, Any]) -> dict[str, str]:
    """Return the state of each app."""
    return {app["name"]: app["state"] for app in facts["apps"]}


@contextmanager
def daemon_in_trouble(place: Path, lifetime: int = 40) -> Iterator[Watched]:
    """Run a daemon with three healthy apps and four in trouble, whose tokens live for so long."""
    port = free_port()
    with emulator("--apps", "7", "--lifetime", str(lifetime)) as dsm, ExitStack() as daemon:
        apps = Workplace(place, dsm)
        for number, name in enumerate((*HEALTHY, *TROUBLED)):
            body = FILES.format(name)
            if name == "shipping":
                body = f'endpoint = "http://127.0.0.1:{free_port()}"\n{body}'
            if name == "audit":
                body = '[[apps.audit.files]]\npath = "missing/audit.token"\n'
            if name == "reports":
                body += '[[apps.reports.hooks]]\ncommand = ["/bin/false"]\n'
            apps.app(name, body, key=number)
        (place / "orders.key").write_text(dsm.api_keys[0][:-8] + "AAAAAAA=")
        path = apps.write(f'[http]\nlisten = ["127.0.0.1:{port}"]\n')

        def start() -> None:
            daemon.enter_context(running("run", "--config", str(path)))

        found = Watched(place, f"http://127.0.0.1:{port}/", dsm, start, daemon.close)
        start()
        found.await_facts(
            lambda facts: (
                {"rejected", "fresh"} <= set(states(facts).values())
                and facts["troubled"] == len(TROUBLED)
            )
        )
        yield found
