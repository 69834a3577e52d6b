"""An app's newest session in a real file: what a next run finds, and what it makes of it."""

import os
import stat
from pathlib import Path

import pytest

from refresherd.adapters.state.session_file import SessionFile
from refresherd.domain.errors import OutputError, Reason, Retryable
from refresherd.domain.events import Warned
from refresherd.domain.model import App, Endpoint, Instant, Secret, Token, TokenFile
from refresherd.engine.context import Context
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import ENTITY_ID, FakeClock, FakeSchedule, RecordingObserver
from support.lab import needs_root

BOOTSTRAP = Secret("bootstrap")
ANOTHER = Secret("another")
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
        return SessionFile(app, self.path, self.context, KeyedExecutor())

    async def first(self) -> SessionFile:
        """Return the session file of a run that has kept one token."""
        chain = self.next()
        assert await chain.newest(BOOTSTRAP) is None
        chain.begin(BOOTSTRAP)
        await chain.prepare()
        await chain.put(token())
        return chain

    @property
    def warnings(self) -> list[str]:
        """What operators were told."""
        return [warned.message for warned in self.observer.of(Warned)]


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """Return an app's runs, of which there has been none."""
    return Runs(tmp_path)


def token(number: int = 1) -> Token:
    """Return a token."""
    secret = Secret(f"token-{number}")
    return Token(secret, ENTITY_ID, number, Instant(1000.0), 600.0, Instant(1600.0))


async def test_the_next_run_goes_on_from_the_newest_token(runs: Runs) -> None:
    """That is what the file is for."""
    chain = await runs.first()
    await chain.put(token(2))
    assert chain.kept == 2
    assert await runs.next().newest(BOOTSTRAP) == Secret("token-2")
    assert (runs.next().kept, runs.warnings) == (0, [])


async def test_another_bootstrap_has_no_session_yet(runs: Runs) -> None:
    """Unless anything will do, because the bootstrap is gone or no good."""
    await runs.first()
    chain = runs.next()
    assert await chain.newest(ANOTHER) is None
    assert await chain.newest(None) == Secret("token-1")
    chain.begin(ANOTHER)
    assert await chain.newest(None) is None
    await chain.put(token(2))
    assert await runs.next().newest(ANOTHER) == Secret("token-2")
    assert await runs.next().newest(BOOTSTRAP) is None


async def test_an_origin_outlives_runs_without_the_bootstrap(runs: Runs) -> None:
    """The bootstrap file may be deleted, and the same one be put there again."""
    await runs.first()
    chain = runs.next()
    await chain.prepare()
    await chain.put(token(2))
    assert await runs.next().newest(BOOTSTRAP) == Secret("token-2")


async def test_only_the_daemons_user_may_read_it(runs: Runs) -> None:
    """It is as good as a key; no umask opens it, and no temporary file is left."""
    umask = os.umask(0)
    try:
        await runs.first()
    finally:
        os.umask(umask)
    assert stat.S_IMODE(runs.path.stat().st_mode) == 0o600
    assert list(runs.path.parent.iterdir()) == [runs.path]


async def test_what_a_killed_run_left_is_swept(runs: Runs) -> None:
    """It holds a token too."""
    left = runs.path.with_name(f".{runs.path.name}.0123456789abcdef.tmp")
    left.write_text("token")
    await runs.first()
    assert not left.exists()


async def test_a_dead_session_is_removed(runs: Runs) -> None:
    """The next run needs no answer from DSM to know it."""
    chain = await runs.first()
    await chain.remove()
    assert (chain.kept, await chain.newest(None), runs.path.exists()) == (0, None, False)
    chain.close()
    assert not chain.removes_expired


async def test_a_write_that_fails_keeps_nothing(runs: Runs) -> None:
    """So that what is on the disk is not ended; the run itself knows better."""
    chain = await runs.first()
    runs.path.unlink()
    runs.path.mkdir()
    with pytest.raises(OutputError, match="remove the directory in its place"):
        await chain.put(token(2))
    assert chain.kept == 1
    assert await chain.newest(BOOTSTRAP) == Secret("token-2")


@pytest.mark.parametrize("content", [b"", b"\x00" * 99, b"{}", b'{"access_token": "a b"}'])
async def test_a_garbled_file_is_told_and_replaced(runs: Runs, content: bytes) -> None:
    """It is told once, and quoted never."""
    runs.path.write_bytes(content)
    chain = runs.next()
    assert await chain.newest(BOOTSTRAP) is None
    await chain.prepare()
    (warning,) = runs.warnings
    assert warning.startswith(f"{runs.path} is not used, and is replaced with the next token: it")
    chain.begin(BOOTSTRAP)
    await chain.put(token())
    assert await runs.next().newest(BOOTSTRAP) == Secret("token-1")


async def test_a_session_elsewhere_is_not_used_here(runs: Runs) -> None:
    """A token must never be sent to another server than its own."""
    await runs.first()
    chain = runs.next("https://eu.smartkey.io")
    assert await chain.newest(None) is None
    (warning,) = runs.warnings
    assert warning.endswith("its session is not one at https://eu.smartkey.io")


async def test_what_is_no_file_is_not_waited_for(runs: Runs) -> None:
    """A pipe would block until somebody writes to it."""
    os.mkfifo(runs.path)
    assert await runs.next().newest(None) is None
    assert len(runs.warnings) == 1


async def test_an_unreadable_file_is_not_given_up(runs: Runs, tmp_path: Path) -> None:
    """To go on without it would end the chain; the operator reads what is wrong."""
    await runs.first()
    runs.path = tmp_path / "file" / "payments.session"
    runs.path.parent.touch()
    chain = runs.next()
    with pytest.raises(Retryable, match="what should be its directory is none") as caught:
        await chain.newest(BOOTSTRAP)
    assert caught.value.reason is Reason.CREDENTIAL
    runs.path.parent.unlink()
    runs.path.parent.mkdir()
    assert await chain.newest(BOOTSTRAP) is None


async def test_another_users_file_is_told(runs: Runs) -> None:
    """A daemon that was once run as root has left one that its own user may not read."""
    needs_root()
    await runs.first()
    runs.path.parent.chmod(0o777)
    os.seteuid(65534)
    try:
        with pytest.raises(Retryable, match="Permission denied"):
            await runs.next().newest(BOOTSTRAP)
    finally:
        os.seteuid(0)
