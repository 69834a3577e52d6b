"""The API socket with everything behind it: real sockets; fakes for DSM, clock and schedule."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, UnixConnector

from refresherd.adapters.api.listener import ApiListener
from refresherd.domain.connection_quota import DEFAULT_QUOTA, Quota
from refresherd.domain.events import ApiAnswered
from refresherd.domain.model import Access, App, Ownership
from refresherd.domain.reload_plan import ReloadPlan
from refresherd.engine.context import AppContext
from refresherd.engine.ports import WatchedOutput
from refresherd.engine.supervisor import Supervisor
from refresherd.host.admission import Admission
from refresherd.host.http.server import DEFAULT_TIMES, Times
from refresherd.host.keyed_executor import KeyedExecutor
from support.fake_app import FakeApp, Script
from support.fakes import (
    FakeClock,
    FakeCredential,
    RecordingObserver,
    ScriptedClient,
    grants,
    settle,
)
from support.other_users import reachable

IDLE_TIMEOUT = 0.1
"""Seconds after which threads end: soon, since other tests count them."""

EVERYBODY = Ownership(mode=0o666)


class Apps:
    """Running apps, each with its script for DSM; an app without a script gets tokens."""

    def __init__(
        self,
        apps: Mapping[str, Access],
        scripts: Mapping[str, Script],
        outputs: tuple[WatchedOutput, ...] = (),
    ) -> None:
        self.fake_app = FakeApp()
        self.outputs = outputs
        clock = self.fake_app.clock
        self.clients = {name: ScriptedClient(clock, scripts.get(name, grants())) for name in apps}
        self.apps = [
            replace(self.fake_app.app, name=name, access=access) for name, access in apps.items()
        ]
        self.supervisor = Supervisor(self.apps, self._make_app_context, self.fake_app.context)

    def _make_app_context(self, app: App) -> AppContext:
        gate = asyncio.Semaphore(8)
        client = self.clients[app.name]
        return AppContext(client, FakeCredential(), gate, gate, self.outputs)


@dataclass(frozen=True, slots=True)
class Place:
    """A listener that serves some apps, and a client of the test's own user."""

    path: Path
    apps: Apps
    listener: ApiListener
    client: ClientSession
    running: "asyncio.Task[None]"

    @property
    def clock(self) -> FakeClock:
        """Boot time."""
        return self.apps.fake_app.clock

    @property
    def observer(self) -> RecordingObserver:
        """The observer of all events."""
        return self.apps.fake_app.observer

    @property
    def answered(self) -> list[tuple[str, int]]:
        """The requests by route and code, in order."""
        return [(event.route.value, event.code) for event in self.observer.of(ApiAnswered)]

    def attempts(self, app: str = "payments") -> int:
        """Return the number of requests to DSM for a session."""
        return len(self.apps.clients[app].calls)

    async def advance(self, seconds: float) -> None:
        """Let boot time pass."""
        await self.apps.fake_app.schedule.advance(seconds)

    async def reload(self, plan: ReloadPlan, names: Iterable[str] = ("payments",)) -> None:
        """Apply a new configuration."""
        await self.apps.supervisor.apply(plan, names, end_sessions=False)

    async def stop(self) -> None:
        """Stop as the daemon does: the apps first, then the socket."""
        self.running.cancel()
        await asyncio.wait({self.running})
        await self.listener.stop()

    async def get(self, path: str) -> tuple[int, Any]:
        """Return code and JSON of a GET."""
        async with self.client.get(path) as response:
            return response.status, json.loads(await response.read())

    async def post(self, path: str) -> tuple[int, Any]:
        """Return code and JSON of a POST."""
        async with self.client.post(path) as response:
            return response.status, json.loads(await response.read())


@asynccontextmanager
async def served(
    apps: Mapping[str, Access] | None = None,
    outputs: tuple[WatchedOutput, ...] = (),
    quota: Quota = DEFAULT_QUOTA,
    times: Times = DEFAULT_TIMES,
    **scripts: Script,
) -> AsyncIterator[Place]:
    """Serve apps while the block runs; by default one, `payments`, with a token."""
    running = Apps(apps or {"payments": Access()}, scripts, outputs)
    with reachable() as directory:
        path = directory / "api.sock"
        listener = ApiListener(
            path,
            EVERYBODY,
            running.supervisor,
            running.fake_app.context,
            KeyedExecutor(idle_timeout=IDLE_TIMEOUT),
            admission=Admission(running.fake_app.context.observer, quota),
            times=times,
        )
        async with ClientSession("http://localhost", connector=UnixConnector(str(path))) as own:
            await listener.start()
            place = Place(
                path, running, listener, own, asyncio.create_task(running.supervisor.run())
            )
            await settle()
            try:
                yield place
            finally:
                await place.stop()


async def eventually(holds: Callable[[], bool]) -> None:
    """Return as soon as a condition holds; it must hold soon."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # conditions have no event to wait for
            await asyncio.sleep(0.01)
