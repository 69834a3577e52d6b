"""The API socket with everything behind it: real sockets, and DSM, clock and schedule as fakes."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, UnixConnector

from refresherd.adapters.api import ApiListener, service
from refresherd.domain.events import ApiAnswered
from refresherd.domain.model import Access, App, Ownership
from refresherd.domain.reload_plan import ReloadPlan
from refresherd.engine.app_context import AppContext
from refresherd.engine.ports import Output
from refresherd.engine.supervisor import Supervisor
from refresherd.host.keyed_executor import KeyedExecutor, Pace
from support.fake_app import Kept, Script
from support.fakes import (
    FakeClock,
    FakeCredential,
    RecordingObserver,
    ScriptedClient,
    grants,
    settle,
)
from support.other_users import reachable

BRIEF = Pace(idle=0.1)
"""Lets threads end soon, as other tests count them."""

EVERYBODY = Ownership(mode=0o666)


class Apps:
    """Some apps that are kept, each with its script for DSM; those without one have tokens."""

    def __init__(
        self,
        apps: Mapping[str, Access],
        scripts: Mapping[str, Script],
        outputs: tuple[Output, ...] = (),
    ) -> None:
        self.kept = Kept()
        self.outputs = outputs
        clock = self.kept.clock
        self.clients = {name: ScriptedClient(clock, scripts.get(name, grants())) for name in apps}
        self.apps = [
            replace(self.kept.app, name=name, access=access) for name, access in apps.items()
        ]
        self.supervisor = Supervisor(self.apps, self._make_app_context, self.kept.context)

    def _make_app_context(self, app: App) -> AppContext:
        gate = asyncio.Semaphore(8)
        client = self.clients[app.name]
        return AppContext(client, FakeCredential(), gate, gate, self.outputs)


@dataclass(frozen=True, slots=True)
class Place:
    """A listener that serves some apps, and a client of its own user's."""

    path: Path
    apps: Apps
    listener: ApiListener
    client: ClientSession
    keeping: "asyncio.Task[None]"

    @property
    def clock(self) -> FakeClock:
        """Boot time."""
        return self.apps.kept.clock

    @property
    def observer(self) -> RecordingObserver:
        """What happened."""
        return self.apps.kept.observer

    @property
    def answered(self) -> list[tuple[str, int]]:
        """The requests by route and code, in order."""
        return [(event.route.value, event.code) for event in self.observer.of(ApiAnswered)]

    def attempts(self, app: str = "payments") -> int:
        """Return how often DSM was asked for a session."""
        return len(self.apps.clients[app].calls)

    async def advance(self, seconds: float) -> None:
        """Let boot time pass."""
        await self.apps.kept.schedule.advance(seconds)

    async def reload(self, plan: ReloadPlan, names: Iterable[str] = ("payments",)) -> None:
        """Apply a new configuration."""
        await self.apps.supervisor.apply(plan, names, end_sessions=False)

    async def stop(self) -> None:
        """Stop as the daemon does: first the apps, then the socket."""
        self.keeping.cancel()
        await asyncio.wait({self.keeping})
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
    outputs: tuple[Output, ...] = (),
    **scripts: Script,
) -> AsyncIterator[Place]:
    """Serve apps, `payments` with a token unless others are named, until the block ends."""
    kept = Apps(apps or {"payments": Access()}, scripts, outputs)
    with reachable() as directory:
        path = directory / "api.sock"
        clock, observer = kept.kept.clock, kept.kept.observer
        answers = service(kept.supervisor, clock, observer, KeyedExecutor(BRIEF), str(path))
        listener = ApiListener(path, EVERYBODY, answers, observer, KeyedExecutor())
        async with ClientSession("http://localhost", connector=UnixConnector(str(path))) as own:
            await listener.start()
            place = Place(path, kept, listener, own, asyncio.create_task(kept.supervisor.run()))
            await settle()
            try:
                yield place
            finally:
                await place.stop()


async def eventually(holds: Callable[[], bool]) -> None:
    """Return as soon as something holds, which must be soon."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # whatever it is, it has no event to wait for
            await asyncio.sleep(0.01)
