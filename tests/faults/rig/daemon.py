"""The installed daemon as a process: start, stop, kill, and read its metrics."""

import asyncio
import json
import os
import re
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from faults.rig.ports import unused_port
from support.programs import PATIENCE, REFRESHERD

SAMPLE = re.compile(
    r"^refresherd_(refresh_attempts_total|refresh_failures_total|app_state|app_ready"
    r'|last_refresh_success_timestamp_seconds)\{app="([^"]+)"'
    r'(?:,method="[^"]*")?(?:,(?:reason|state)="([^"]*)")?\} (\S+)$',
    re.MULTILINE,
)


@dataclass(slots=True)
class Figures:
    """One app's metrics: `succeeded` in unix seconds, `failures` by reason."""

    attempts: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    state: str = ""
    succeeded: float = 0.0
    ready: bool = False


class Daemon:
    """`refresherd run` with the configuration in a directory; `wrapper` is a command to run it."""

    def __init__(self, directory: Path, wrapper: tuple[str, ...] = ()) -> None:
        self.port = unused_port()
        self.directory = directory
        self.config = directory / "config.toml"
        self.log = directory / "log"
        self._wrapper = wrapper
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The pid of the process, which a wrapper must become by exec."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start the process without waiting for it."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._wrapper,
                *(REFRESHERD, "run", "--config", str(self.config)),
                stderr=log,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )

    async def listening(self) -> None:
        """Return once the process serves HTTP. Raises AssertionError if it has ended."""
        async with asyncio.timeout(PATIENCE):
            while self.alive:
                try:
                    await self.page("/livez")
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    return
        raise AssertionError(self.log.read_text()[-2000:])

    async def kill(self) -> None:
        """End the process by SIGKILL."""
        self.signal(signal.SIGKILL)
        await self._gone()

    async def stop(self) -> int:
        """Ask the process to stop, and return its exit status."""
        self.signal(signal.SIGTERM)
        try:
            return await self._gone()
        except TimeoutError:
            await self.kill()
            raise

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if the process is running."""
        if self._process is not None and self.alive:
            self._process.send_signal(number)

    async def figures(self) -> Mapping[str, Figures]:
        """Scrape the metrics. Raises OSError if nobody answers."""
        found: dict[str, Figures] = {}
        for name, app, label, value in SAMPLE.findall(await self.page("/metrics")):
            figures = found.setdefault(app, Figures())
            if name == "refresh_attempts_total":
                figures.attempts += int(float(value))
            elif name == "refresh_failures_total":
                figures.failures[label] += int(float(value))
            elif name == "last_refresh_success_timestamp_seconds":
                figures.succeeded = float(value)
            elif name == "app_ready":
                figures.ready = bool(float(value))
            elif float(value):
                figures.state = label
        return found

    async def page(self, path: str) -> str:
        """Return a page of the HTTP listener. Raises OSError if nobody answers."""
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                writer.write(request.encode())
                return (await reader.read()).decode().partition("\r\n\r\n")[2]
            finally:
                writer.close()

    def logged(self, *events: str, since: int = 0) -> list[dict[str, Any]]:
        """Return the log lines of these events, from byte `since` of the log on."""
        return [one for one in self._lines(since) if one["event"] in events]

    def bugs(self, since: int) -> list[dict[str, Any]]:
        """Return the log lines with a traceback, and those of libraries."""
        signs = {"exception", "logger"}
        return [one for one in self._lines(since) if signs & one.keys() or one["event"] == "bug"]

    def _lines(self, since: int) -> list[dict[str, Any]]:
        # The last line may be half written.
        whole, _, _ = self.log.read_bytes()[since:].rpartition(b"\n")
        return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]

    async def _gone(self) -> int:
        assert self._process is not None
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()


async def operate(api: Path, app: str) -> None:
    """Ask for a refresh, as `refresherd refresh APP` does."""
    reader, writer = await asyncio.open_unix_connection(api)
    request = f"POST /v1/apps/{app}/refresh HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    async with asyncio.timeout(PATIENCE):
        await reader.read()
    writer.close()
