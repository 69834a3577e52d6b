"""All outputs are looked after by one task: alterations are undone, and a hang delays nobody."""

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from refresherd.adapters.outputs.files import FileOutput
from refresherd.adapters.outputs.sockets import SocketOutput
from refresherd.adapters.outputs.watch import OutputWatch
from refresherd.domain import readiness
from refresherd.domain.events import OutputAltered
from refresherd.domain.model import App, FileSpec, Ownership, SocketSpec
from refresherd.engine.context import AppContext
from refresherd.engine.ports import Alteration
from refresherd.engine.supervisor import Supervisor
from refresherd.host.admission import Admission
from refresherd.host.atomic_file import FileContext
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.unix_sockets import bind
from support.api_place import IDLE_TIMEOUT, eventually
from support.fake_app import FakeApp, running
from support.fakes import FakeOutput, grants
from support.other_users import reachable

PRIVATE = Ownership(mode=0o600)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory whose paths are short enough for sockets."""
    with reachable() as directory:
        yield directory


class Hanging(FakeOutput):
    """An output whose filesystem hangs until `released` is set."""

    directory = "/hanging"

    def __init__(self) -> None:
        super().__init__("/hanging/payments.token")
        self.released = threading.Event()
        self.looks = 0

    def look(self) -> Alteration | None:
        """Hang."""
        self.looks += 1
        assert self.released.wait(20)
        return None


class Watched:
    """An app with a file, a socket and a hanging output, and the watch over them."""

    def __init__(self, directory: Path) -> None:
        self.fake_app = FakeApp(grants())
        self.file, self.socket = directory / "payments.token", directory / "payments.sock"
        files, sockets = (FileSpec(self.file),), (SocketSpec(self.socket, ownership=PRIVATE),)
        self.app = replace(self.fake_app.app, files=files, sockets=sockets)
        self.executor = KeyedExecutor(idle_timeout=IDLE_TIMEOUT)
        self.hanging = Hanging()
        self.supervisor = Supervisor([self.app], self._ports, self.fake_app.context)
        self.watch = OutputWatch(self.supervisor, self.executor, every=0.02)

    def _ports(self, app: App) -> AppContext:
        file = FileOutput(app, app.files[0], FileContext(self.fake_app.clock, self.executor))
        context = self.fake_app.context
        served = SocketOutput(
            app, app.sockets[0], context, self.executor, Admission(context.observer)
        )
        return replace(self.fake_app.app_context, outputs=(file, served, self.hanging))

    async def run(self) -> None:
        """Run the app and the watch."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.supervisor.run())
            tasks.create_task(self.watch.run())

    def ready(self) -> bool:
        """Return whether the outputs hold the token."""
        return not self.trouble()

    def trouble(self) -> str:
        """Return why the app is not ready."""
        status = self.supervisor.status(self.app.name)
        assert status is not None
        return "; ".join(readiness.reasons(status, self.fake_app.clock.now()))

    def messages(self) -> list[str]:
        """Return what was done to the outputs."""
        altered = self.fake_app.observer.of(OutputAltered)
        return [event.message for event in altered]


async def test_alterations_are_made_good_beside_a_hanging_directory(directory: Path) -> None:
    """Consumers of the healthy outputs must not wait for a dead disk elsewhere."""
    watched = Watched(directory)
    async with running(watched.run()):
        await eventually(watched.ready)
        watched.file.unlink()
        watched.socket.chmod(0o666)
        await eventually(lambda: len(watched.messages()) == 2)
        await eventually(watched.ready)
        assert watched.file.read_text() == "token-1"
        assert watched.socket.stat().st_mode & 0o777 == 0o600
        watched.socket.unlink()
        await eventually(lambda: len(watched.messages()) == 3)
        assert sorted(watched.messages()) == [
            "somebody changed its mode from 0600 to 0666",
            "somebody removed it",
            "somebody removed it",
        ]
        assert watched.hanging.looks == 1, "it is looked at again when it answers"
        watched.hanging.released.set()
        await eventually(lambda: watched.hanging.looks > 1)


async def test_another_daemons_socket_is_left_alone(directory: Path) -> None:
    """It is in use; readiness says that ours is not reached."""
    watched = Watched(directory)
    watched.hanging.released.set()
    async with running(watched.run()):
        await eventually(watched.ready)
        watched.socket.unlink()
        other = bind(watched.socket, PRIVATE)
        await eventually(lambda: "another process answers there" in watched.trouble())
        assert other.in_place()
        other.close()
        watched.fake_app.schedule.clock.advance(10)
        await watched.fake_app.schedule.advance(0)
        await eventually(watched.ready)
