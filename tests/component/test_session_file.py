"""An app's newest session in a real file: what the next run finds, and how it uses it."""

import asyncio
import os
import stat
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from refresherd.adapters.outputs.files import FileOutput
from refresherd.adapters.state.session_file import SessionFile
from refresherd.domain.errors import OutputError, Reason, Retryable
from refresherd.domain.events import Warned
from refresherd.domain.model import App, Endpoint, FileSpec, Instant, Secret, Token, TokenFile
from refresherd.engine.app_runner import AppRunner
from refresherd.engine.context import Context
from refresherd.engine.ports import StoredSession
from refresherd.host.atomic_file import FileContext
from refresherd.host.keyed_executor import KeyedExecutor
from support.api_place import eventually
from support.fake_app import running
from support.fake_token_app import FakeTokenApp
from support.fakes import ENTITY_ID, FakeClock, FakeSchedule, RecordingObserver, grants
from support.lab import needs_root

BOOTSTRAP = Secret("bootstrap").fingerprint()
ANOTHER = Secret("another").fingerprint()
URL = "https://amer.smartkey.io"


class Runs:
    """One app's runs, one after the other, on the same file."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "payments.session"
        self.observer = RecordingObserver()
        clock = FakeClock()
        self.context = Context(clock, FakeSchedule(clock), self.observer, lambda: 0.0)

    def next(self, url: str = URL) -> SessionFile:
        """Return the session file as the next run sees it."""
        app = App("payments", Endpoint(url), TokenFile(Path("bootstrap.token")))
        return SessionFile(
            app, self.path, self.context, FileContext(self.context.clock, KeyedExecutor())
        )

    async def first(self) -> SessionFile:
        """Return the session file of a run that has saved one token."""
        store = self.next()
        assert await store.load() == ()
        store.begin(BOOTSTRAP)
        await store.prepare()
        await store.put(token())
        return store

    async def found(self) -> tuple[StoredSession, ...]:
        """Return what the next run finds."""
        return await self.next().load()

    @property
    def warnings(self) -> list[str]:
        """The warnings for operators."""
        return [warned.message for warned in self.observer.of(Warned)]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Return an app's runs, before the first one."""
    return Runs(tmp_path)


def token(number: int = 1) -> Token:
    """Return a token."""
    secret = Secret(f"token-{number}")
    return Token(secret, ENTITY_ID, number, Instant(1000.0), 600.0, Instant(1600.0))


async def test_the_next_run_finds_the_newest_token(runs: Runs) -> None:
    """The file exists for this."""
    store = await runs.first()
    await store.put(token(2))
    assert (store.saved, store.credential) == (2, BOOTSTRAP)
    assert await runs.found() == (StoredSession(Secret("token-2"), BOOTSTRAP),)
    assert (runs.next().saved, runs.warnings) == (0, [])


async def test_people_can_read_it(runs: Runs) -> None:
    """An operator who finds the file asks whose it is, and whether it is still any good."""
    await runs.first()
    text = runs.path.read_text()
    assert text == (
        f'{{\n "endpoint": "{URL}",\n "access_token": "token-1",\n "entity_id": "{ENTITY_ID}",\n'
        f' "bootstrap_sha256": "{BOOTSTRAP}",\n "expires_at": "2023-11-14T22:40:00Z"\n}}\n'
    )


async def test_a_new_bootstrap_replaces_what_is_stored(runs: Runs) -> None:
    """Its sessions are recorded as its own."""
    await runs.first()
    store = runs.next()
    assert (await store.load())[0].credential == BOOTSTRAP
    store.begin(ANOTHER)
    assert await store.load() == ()
    await store.put(token(2))
    assert await runs.found() == (StoredSession(Secret("token-2"), ANOTHER),)


async def test_an_origin_outlives_runs_without_the_bootstrap(runs: Runs) -> None:
    """The bootstrap file may be deleted, and the same token may be put there again."""
    await runs.first()
    store = runs.next()
    await store.prepare()
    assert store.credential == BOOTSTRAP
    await store.put(token(2))
    assert await runs.found() == (StoredSession(Secret("token-2"), BOOTSTRAP),)


async def test_only_the_daemons_user_may_read_it(runs: Runs) -> None:
    """It is as good as a key; no umask opens it, and no temporary file is left."""
    umask = os.umask(0)
    try:
        await runs.first()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(runs.path.stat().st_mode) == 0o600
    assert list(runs.path.parent.iterdir()) == [runs.path]


async def test_temporary_files_of_killed_runs_are_removed(runs: Runs) -> None:
    """They contain a token too."""
    left = runs.path.with_name(f".{runs.path.name}.0123456789abcdef.tmp")
    left.write_text("token")
    await runs.first()
    assert not left.exists()


@pytest.mark.parametrize("planted", ["owner", "link", "mode"])
async def test_a_session_that_somebody_else_may_have_written_is_not_used(
    runs: Runs, planted: str
) -> None:
    """Its token would be handed out to the app's consumers, who would work for a stranger."""
    await runs.first()
    if planted == "owner":
        needs_root()
        os.chown(runs.path, 1, 1)
    elif planted == "link":
        runs.path.rename(runs.path.with_name("other.session"))
        runs.path.symlink_to("other.session")
    else:
        runs.path.chmod(0o666)
    assert await runs.found() == ()
    why = {
        "owner": "it belongs to user daemon (uid 1)",
        "link": "it is a symbolic link",
        "mode": "every user may write to it (mode 0666)",
    }
    message = f"{runs.path} is not used and will be replaced with the next token: {why[planted]}"
    assert runs.warnings == [message]
    store = runs.next()
    await store.prepare()
    store.begin(BOOTSTRAP)
    await store.put(token(2))
    assert await runs.found() == (StoredSession(Secret("token-2"), BOOTSTRAP),)


async def test_a_dead_session_is_removed(runs: Runs) -> None:
    """The next run then knows without asking DSM."""
    store = await runs.first()
    await store.remove()
    assert (store.saved, runs.path.exists(), await runs.found()) == (0, False, ())
    store.close()
    assert not store.removes_expired


async def test_a_write_that_fails_saves_nothing(runs: Runs) -> None:
    """The session that is on the disk must then not be ended."""
    store = await runs.first()
    runs.path.unlink()
    runs.path.mkdir()
    with pytest.raises(OutputError, match="remove the directory in its place"):
        await store.put(token(2))
    assert store.saved == 1


@pytest.mark.parametrize("content", [b"", b"\x00" * 99, b"{}", b'{"access_token": "a b"}'])
async def test_a_garbled_file_is_reported_and_replaced(runs: Runs, content: bytes) -> None:
    """It is reported once, and never quoted."""
    runs.path.write_bytes(content)
    store = runs.next()
    assert await store.load() == ()
    await store.prepare()
    (warning,) = runs.warnings
    prefix = f"{runs.path} is not used and will be replaced with the next token: it is not "
    assert warning.startswith(prefix)
    store.begin(BOOTSTRAP)
    await store.put(token())
    assert await runs.found() == (StoredSession(Secret("token-1"), BOOTSTRAP),)


async def test_a_session_elsewhere_is_not_used_here(runs: Runs) -> None:
    """A token must never be sent to another server than its own."""
    await runs.first()
    assert await runs.next("https://eu.smartkey.io").load() == ()
    (warning,) = runs.warnings
    assert warning.endswith("its session belongs to another endpoint than https://eu.smartkey.io")


async def test_a_pipe_in_its_place_is_not_waited_for(runs: Runs) -> None:
    """It would block until somebody writes to it."""
    os.mkfifo(runs.path)
    assert await runs.found() == ()
    assert len(runs.warnings) == 1


async def test_an_unreadable_file_is_not_given_up(runs: Runs, tmp_path: Path) -> None:
    """Without it the app would lose its way back to DSM; the operator reads what is wrong."""
    await runs.first()
    runs.path = tmp_path / "file" / "payments.session"
    runs.path.parent.touch()
    store = runs.next()
    with pytest.raises(Retryable, match="directory") as caught:
        await store.load()
    assert caught.value.reason is Reason.CREDENTIAL
    runs.path.parent.unlink()
    runs.path.parent.mkdir()
    assert await store.load() == ()


async def test_another_users_file_is_reported(runs: Runs) -> None:
    """A daemon that was once run as root has left one that its own user may not read."""
    needs_root()
    await runs.first()
    runs.path.parent.chmod(0o777)
    os.seteuid(65534)
    try:
        with pytest.raises(Retryable, match="Permission denied"):
            await runs.next().load()
    finally:
        os.seteuid(0)


async def test_a_state_directory_that_hangs_delays_no_output(tmp_path: Path) -> None:
    """Consumers have their token at once; the session follows as soon as the disk answers."""
    path, released = tmp_path / "payments.token", threading.Event()
    (state := tmp_path / "state").mkdir()
    app, executor = FakeTokenApp(grants(), outputs=()), KeyedExecutor()
    files = FileContext(app.clock, executor)
    store = SessionFile(app.app, state / "payments.session", app.context, files)
    assert await store.load() == ()
    output = FileOutput(app.app, FileSpec(path), files)
    app_context = replace(app.app_context, outputs=(output,), session_store=store)
    stuck = asyncio.create_task(executor.call(str(state), partial(released.wait, 30.0)))
    async with running(AppRunner(app.app, app_context, app.context).run()):
        try:
            await eventually(path.exists)
            assert path.read_text() == "token-1"
            assert (store.saved, list(state.iterdir())) == (0, [])
        finally:
            released.set()
        await eventually(lambda: store.saved == 1)
        assert await stuck
