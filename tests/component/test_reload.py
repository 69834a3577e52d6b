"""Reloads of real configuration files by a whole daemon, but for its process."""

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from refresherd.adapters.metrics.exposition import TEXT, Exposition
from refresherd.adapters.metrics.observer import Metrics
from refresherd.daemon.assembly import Assembly, running
from refresherd.daemon.reload import DELIVERY_TIMEOUT, READ_TIMEOUT, Reloader
from refresherd.domain.events import Reloaded, ReloadFailed, SessionEnded, Warned
from refresherd.domain.labels import Ending
from refresherd.emulator import Emulator, Options
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.context import Observers
from refresherd.host.clock import BootClock
from support.configurations import Place
from support.fakes import RecordingObserver
from support.processes import until


class Daemon:
    """A configuration's apps, and their reloader."""

    def __init__(self, place: Place, dsm: Emulator, text: str, read_timeout: float) -> None:
        self.place = place
        self.dsm = dsm
        self.clock = BootClock()
        self.events = RecordingObserver()
        configuration = place.load(self._whole(text))
        self.metrics = Metrics(self.clock.now(), configuration.apps)
        observers = Observers(self.metrics, self.events)
        self.assembly = Assembly(configuration.apps, place.environ, self.clock, observers)
        self.finished = 0
        self.reloader = Reloader(
            configuration,
            place.environ,
            self.assembly,
            self.metrics,
            finished=self._count,
            read_timeout=read_timeout,
        )

    def write(self, text: str) -> None:
        """Write the configuration, and add the endpoint."""
        self.place.file.write_text(self._whole(text))

    async def reload(self, text: str) -> list[str]:
        """Reload a configuration, and return its warnings and then its faults."""
        self.write(text)
        del self.events.events[:]
        self.reloader.request()
        await until(lambda: bool(self.events.of(Reloaded) or self.events.of(ReloadFailed)))
        return [event.message for event in (*self._of(Warned), *self._of(ReloadFailed))]

    async def finish(self, text: str) -> None:
        """Reload a configuration, and return when the service manager would hear of its end."""
        before = self.finished
        await self.reload(text)
        await until(lambda: self.finished > before)

    async def settled(self) -> None:
        """Return once every app has its token, and every output holds it."""
        statuses = self.assembly.supervisor.statuses
        await until(
            lambda: all(
                status.session.token
                and all(one.holds == status.session.token for one in status.outputs)
                for status in statuses()
            )
        )

    def names(self) -> list[str]:
        """Return the names of the apps that run."""
        return [status.name for status in self.assembly.supervisor.statuses()]

    def scrape(self) -> str:
        """Return the metrics."""
        roster, clock = self.assembly.supervisor, self.clock
        return b"".join(Exposition(self.metrics, roster, clock, lambda: 0).render(TEXT)).decode()

    def _count(self) -> None:
        self.finished += 1

    def _of(self, kind: type[Warned] | type[ReloadFailed]) -> list[Warned | ReloadFailed]:
        return list(self.events.of(kind))

    def _whole(self, text: str) -> str:
        return f'{text}\n[dsm]\nendpoint = "{self.dsm.url}"\n'


def app(name: str, *lines: str, file: str = "", key: str = "payments.key") -> str:
    """Return an app's table with these lines in it, and a file's table if `file` is given."""
    own = "".join(f"{line}\n" for line in lines)
    output = f'[[apps.{name}.files]]\npath = "{file}"\n' if file else ""
    return f'[apps.{name}]\napi_key_file = "{key}"\n{own}{output}'


@asynccontextmanager
async def daemon(
    directory: Path, text: str, read_timeout: float = READ_TIMEOUT
) -> AsyncIterator[Daemon]:
    """Run a daemon, and yield it once all its apps are served."""
    place = Place(directory)
    async with Emulator(Options(apps=1)) as dsm:
        place.write("payments.key", dsm.apps[0].api_key)
        made = Daemon(place, dsm, text, read_timeout)
        async with running(made.assembly, made.reloader.ends_sessions):
            reloads = asyncio.create_task(made.reloader.run())
            await made.settled()
            yield made
            reloads.cancel()
            await asyncio.wait({reloads})


async def test_a_good_file_is_applied_and_reported(tmp_path: Path) -> None:
    """Series of new apps exist at once, those of removed apps end, and the others go on."""
    old = app("a", file="a.token") + app("b", file="b.token")
    async with daemon(tmp_path, old) as running:
        before = running.metrics.loaded_at
        new = app("c", file="c.token") + app("b", file="b.token") + app("d", file="a.token")
        assert await running.reload(new) == []
        (event,) = running.events.of(Reloaded)
        assert (event.started, event.stopped, event.restarted, event.retuned) == (2, 1, 0, 0)
        assert running.metrics.loaded
        assert running.metrics.loaded_at == event.at > before
        assert running.names() == ["c", "b", "d"]
        text = running.scrape()
        assert 'app="a"' not in text
        assert 'refresherd_sessions_terminated_total{app="c",result="failed"} 0' in text
        assert 'refresherd_refresh_attempts_total{app="b",method="auth"} 1' in text
        await running.settled()
        assert len(running.dsm.log.select(operation="auth")) == 4


async def test_terminations_are_shown_as_soon_as_stopping_apps_end_their_sessions(
    tmp_path: Path,
) -> None:
    """These series depend on `shutdown`, which is not an app's own setting."""
    text = app("a", 'terminate_after = "never"', file="a.token")
    async with daemon(tmp_path, text) as running:
        await running.settled()
        name = 'refresherd_sessions_terminated_total{app="a",result="terminated"}'
        assert name not in running.scrape()
        assert await running.reload(f'shutdown = "terminate"\n{text}') == []
        assert f"{name} 0" in running.scrape()


async def test_a_finished_reload_has_delivered_what_it_added(tmp_path: Path) -> None:
    """`systemctl reload` returns then, and whoever ran it uses the new file at once."""
    text = app("a", file="a.token")
    async with daemon(tmp_path, text) as running:
        for number in range(12):
            name = f"added{number}.token"
            assert not (tmp_path / name).exists()
            added = app("b", file=name) if number % 2 else app("a", file=name)
            await running.finish(added if number % 2 == 0 else text + added)
            assert (tmp_path / name).read_text()


async def test_an_app_in_trouble_does_not_hold_up_the_next_reload(tmp_path: Path) -> None:
    """It may be the very reload that mends the app."""
    text = app("a", file="a.token")
    async with daemon(tmp_path, text) as running:
        running.place.write("missing.key", "")
        began = running.clock.now()
        await running.reload(text + app("b", key="missing.key", file="b.token"))
        await running.finish(text)
        assert running.clock.now() - began < DELIVERY_TIMEOUT / 2


async def test_files_that_are_not_named_any_more_are_removed(tmp_path: Path) -> None:
    """A live token would stay behind: of a removed app, a removed file, a changed path."""
    old = app("a", file="a.token") + app("b", file="b.token") + app("c", file="c.token")
    async with daemon(tmp_path, old) as running:
        # The path of b's file becomes another app's.
        await running.finish(app("a") + app("c", file="moved.token") + app("d", file="b.token"))
        present = {entry.name for entry in tmp_path.glob("*.token")}
        assert present == {"moved.token", "b.token"}
        held = running.assembly.supervisor.status("d")
        assert held is not None
        assert held.session.token is not None
        secret = held.session.token.access_token.reveal()
        assert (tmp_path / "b.token").read_text() == secret


async def test_a_faulty_file_changes_nothing_and_every_fault_is_reported(tmp_path: Path) -> None:
    """The running daemon matters more than the new file; the next good file is applied."""
    old = app("a", file="a.token")
    async with daemon(tmp_path, old) as running:
        before = running.metrics.loaded_at
        assert loaded(running)
        faulty = app("b", 'format = "raw"', 'renew = "never"', file="/nowhere/b.token")
        faults = await running.reload(faulty)
        assert len(faults) == 2, "the missing directory is no fault of the file"
        assert all(line.startswith(f"{running.place.file}:") for line in faults)
        assert not loaded(running)
        assert running.metrics.loaded_at == before
        assert running.names() == ["a"]
        assert await running.reload(old) == []
        assert loaded(running)
        assert len(running.dsm.log.select(operation="auth")) == 1


def loaded(running: Daemon) -> bool:
    """Return whether Prometheus sees that the last reload succeeded."""
    return "refresherd_config_last_reload_successful 1.0" in running.scrape()


@pytest.mark.parametrize("change", ["missing", "directory", "binary", "deep"])
async def test_no_file_content_ends_the_daemon(tmp_path: Path, change: str) -> None:
    """Whatever stands in the file's place: if the daemon ends, every consumer loses its token."""
    async with daemon(tmp_path, app("a")) as running:
        file = running.place.file
        file.unlink()
        if change == "directory":
            file.mkdir()
        elif change == "binary":
            file.write_bytes(bytes(range(256)))
        elif change == "deep":
            file.write_text("a = " + "[" * 100_000)
        running.reloader.request()
        await until(lambda: bool(running.events.of(ReloadFailed)))
        assert running.names() == ["a"]


async def test_a_hanging_disk_holds_up_reloads_only(tmp_path: Path) -> None:
    """They are refused after the time limit, and work again when the disk answers."""
    old = app("a", file="a.token")
    async with daemon(tmp_path, old, read_timeout=2.0) as running:
        file, aside = running.place.file, tmp_path / "aside"
        file.rename(aside)
        os.mkfifo(file)
        for _ in range(2):
            del running.events.events[:]
            running.reloader.request()
            await until(lambda: bool(running.events.of(ReloadFailed)))
            assert "is a disk hanging?" in running.events.of(ReloadFailed)[0].message
        running.assembly.supervisor.refresh_all()
        await until(lambda: len(running.dsm.log.select(operation="reauth")) == 1)
        # The disk answers the abandoned reads with an empty file.
        os.close(os.open(file, os.O_WRONLY))
        aside.rename(file)
        assert await running.reload(old + app("b")) == []
        assert running.names() == ["a", "b"]


async def test_a_flood_of_requests_causes_two_reloads(tmp_path: Path) -> None:
    """The first reload may have read the file before the last request, so a second one is due."""
    async with daemon(tmp_path, app("a")) as running:
        for _ in range(50):
            running.reloader.request()
        await asyncio.sleep(0)
        for _ in range(50):
            running.reloader.request()
        await until(lambda: len(running.events.of(Reloaded)) == 2)
        await asyncio.sleep(0.05)
        assert len(running.events.of(Reloaded)) == 2


async def test_each_reload_names_the_keys_that_need_a_restart(tmp_path: Path) -> None:
    """Until they have their value from the start again, which is the one in force."""
    async with daemon(tmp_path, app("a")) as running:
        head = f'ready = "any"\nstate_dir = "{tmp_path}"\n'
        changed = f'{head}[log]\nlevel = "debug"\n[http]\nlisten = []\n[api]\nmode = "0600"\n'
        for _ in range(2):
            warnings = await running.reload(changed + app("a"))
            keys = ["ready", "state_dir", "api.mode", "http.listen", "log.level"]
            advice = "has changed; restart refresherd to apply it"
            assert warnings == [f"{running.place.file}: {key} {advice}" for key in keys]
        assert await running.reload(app("a")) == []


async def test_the_new_file_decides_whether_sessions_are_terminated(tmp_path: Path) -> None:
    """An edit that sets `shutdown = "terminate"` and removes an app means both."""
    old = app("a", file="a.token") + app("b", file="b.token")
    async with daemon(tmp_path, old) as running:
        assert not running.reloader.ends_sessions()
        await running.reload('shutdown = "terminate"\n' + app("b", file="b.token"))
        assert running.reloader.ends_sessions()
        await until(lambda: bool(running.events.of(SessionEnded)))
        assert running.events.of(SessionEnded) == [SessionEnded("a", Ending.TERMINATED)]
        assert not (tmp_path / "a.token").exists()
        assert (tmp_path / "b.token").exists()


VARIANTS = (
    app("a", file="a.token") + app("b", file="b.token"),
    app("a", "at = 0.6", file="a.token") + app("c", file="b.token"),
    app("a", 'access.users = ["root"]', file="a2.token") + app("b", key="other.key"),
    app("c", "max_in_flight = 3", file="b.token"),
)
"""Apps come and go, change each kind of setting, and hand paths to one another."""

SOCKETS = '[[apps.a.sockets]]\npath = "a.sock"\n[[apps.a.sockets]]\npath = "{}.sock"\n'


async def test_two_hundred_reloads_leave_nothing_behind(tmp_path: Path) -> None:
    """Every deployment reloads the daemon, for years."""
    async with daemon(tmp_path, VARIANTS[0]) as running:
        key = running.dsm.apps[0].api_key
        running.place.write("other.key", key)
        counts = []
        for number in range(200):
            variant = VARIANTS[number % len(VARIANTS)]
            sockets = SOCKETS.format(number % 3) if variant.startswith("[apps.a]") else ""
            assert await running.reload(variant + sockets) == []
            if number in (11, 199):
                await running.settled()
                counts.append(leftovers())
        first, last = counts
        # Some connections and threads may be idle; a leak would be hundreds.
        assert all(late <= early + 10 for early, late in zip(first, last, strict=True))
        assert len(list(tmp_path.iterdir())) <= 12


def leftovers() -> tuple[int, ...]:
    """Return the numbers of tasks, descriptors, threads and app runners."""
    gc.collect()
    runners = sum(isinstance(one, AppRunner) for one in gc.get_objects())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return len(asyncio.all_tasks()), descriptors, threading.active_count(), runners
