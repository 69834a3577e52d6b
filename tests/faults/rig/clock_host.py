"""A host whose clocks can be changed: a daemon, some apps, and consumers that always read."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from faults.rig.daemon import Daemon
from faults.rig.gate import Gate
from faults.rig.ports import held_port
from faults.rig.readers import Output, Reader, Seen, Tally, of_api, of_file, of_socket
from refresherd.emulator import App, Emulator, Options
from support.dsm_loopback import Authority
from support.programs import PATIENCE

AT, JITTER = 0.5, 0.1

HEAD = f"""
[api]
path = "api.sock"
[log]
level = "debug"
format = "json"
[refresh]
at = {AT}
jitter = {JITTER}
retry_min = "200ms"
retry_max = "1s"
terminate_after = "1s"
[http]
listen = ["127.0.0.1:{{port}}"]
[dsm]
endpoint = "{{endpoint}}"
ca_file = "{{ca_file}}"
"""

APP = """
[apps.{name}]
api_key_file = "{name}.key"
[[apps.{name}.files]]
path = "{name}.token"
[[apps.{name}.files]]
path = "{name}.json"
format = "json"
[[apps.{name}.sockets]]
path = "{name}.sock"
"""


@dataclass(slots=True)
class Host:
    """A running daemon, its DSM, and what its consumers saw."""

    daemon: Daemon
    dsm: Emulator
    tally: Tally = field(default_factory=Counter)

    @property
    def apps(self) -> dict[str, App]:
        """The apps at DSM, by their names on this host."""
        return {app.name: app for app in self.dsm.apps}

    @property
    def api(self) -> Path:
        """The API's socket."""
        return self.daemon.directory / "api.sock"

    def seen(self, *kinds: Seen) -> int:
        """Return how often consumers saw one of these kinds."""
        return sum(count for (_, seen), count in self.tally.items() if seen in kinds)

    def issued(self) -> dict[str, int]:
        """Return how many sessions each app has had."""
        return {name: len(self.dsm.sessions.tokens(app)) for name, app in self.apps.items()}

    async def metric(self, name: str, label: str = "") -> list[float]:
        """Return the values of a metric's series with that label."""
        page = await self.daemon.page("/metrics")
        pattern = rf"^refresherd_{name}(?:{{[^}}]*}})? (\S+)$"
        lines = [line for line in page.splitlines() if label in line]
        return [float(found[1]) for line in lines if (found := re.match(pattern, line))]

    async def status(self) -> list[dict[str, Any]]:
        """Return the API's status of all apps."""
        reader, writer = await asyncio.open_unix_connection(self.api)
        writer.write(b"GET /v1/apps HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        apps: list[dict[str, Any]] = json.loads(body)["apps"]
        return apps

    async def ready(self) -> None:
        """Return once every app has a token and every output holds it."""
        async with asyncio.timeout(PATIENCE):
            while sum(await self.metric("app_ready")) < len(self.apps):  # noqa: ASYNC110  # as below
                await asyncio.sleep(0.05)

    def _readers(self) -> list[Reader]:
        return [
            Reader(output, read, app, self.dsm.sessions)
            for name, app in self.apps.items()
            for output, read in (
                (Output.FILE, of_file(self.daemon.directory / f"{name}.token")),
                (Output.SOCKET, of_socket(self.daemon.directory / f"{name}.sock")),
                (Output.API, of_api(self.api, name)),
            )
        ]

    def place(self, endpoint: str, ca_file: Path | None) -> None:
        """Write the configuration and the keys."""
        directory = self.daemon.directory
        for name, app in self.apps.items():
            key = directory / f"{name}.key"
            key.touch(mode=0o600)
            key.write_text(app.api_key)
        head = HEAD.format(port=self.daemon.port, endpoint=endpoint, ca_file=ca_file or "")
        self.daemon.config.write_text(head + "".join(APP.format(name=name) for name in self.apps))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[None]:
        """Let consumers read all outputs in a loop until the block ends."""
        tasks = [asyncio.create_task(_run(reader, self.tally)) for reader in self._readers()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)


async def _run(reader: Reader, tally: Tally) -> NoReturn:
    await reader.run(tally)


@asynccontextmanager
async def host(
    directory: Path,
    wrapper: Sequence[str] = (),
    *,
    apps: int = 1,
    lifetime: float,
    tls: bool = False,
) -> AsyncIterator[Host]:
    """Run a daemon until the block ends; `wrapper` is a command that starts it."""
    async with AsyncExitStack() as stack:
        options = Options(apps=apps, lifetime=lifetime, expiry="absolute")
        dsm = await stack.enter_async_context(Emulator(options))
        authority = Authority(directory) if tls else None
        port = stack.enter_context(held_port())
        certificate = authority.server("localhost") if authority else None
        gate = Gate(int(dsm.url.rpartition(":")[2]), port, certificate)
        await gate.open()
        stack.callback(gate.close)
        made = Host(Daemon(directory, tuple(wrapper)), dsm)
        made.place(gate.url, authority.ca_file if authority else None)
        await made.daemon.start()
        stack.push_async_callback(_stop_cleanly, made.daemon)
        await made.daemon.listening()
        yield made


async def _stop_cleanly(daemon: Daemon) -> None:
    if daemon.alive:
        assert await daemon.stop() == 0, daemon.log.read_text()[-2000:]


async def until(condition: Callable[[], bool], within: float = PATIENCE) -> None:
    """Return once the condition holds. Raises TimeoutError."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # nothing signals this
            await asyncio.sleep(0.05)


def unix(date: str) -> float:
    """Return an RFC 3339 date in unix seconds."""
    return datetime.fromisoformat(date).timestamp()
