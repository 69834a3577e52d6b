"""What a web configuration does to the pages: passwords on every path, and header fields."""

import asyncio
import logging
import time
from base64 import b64encode
from collections.abc import Callable, Hashable
from errno import EAGAIN
from pathlib import Path
from typing import TypeVar

import pytest
from aiohttp import ClientSession

from refresherd.adapters.web.passwords import LONGEST_PASSWORD, Passwords
from refresherd.domain.model import Secret
from refresherd.host.clock import BootClock
from refresherd.host.keyed_executor import KeyedExecutor
from support.protected import protected
from support.web_tls import basic, hashed

T = TypeVar("T")

ANNA = basic("anna", "secret")

PATHS = ("/", "/metrics", "/livez", "/readyz", "/readyz/x", "/status.json", "/nothing")


@pytest.fixture
def web_config(tmp_path: Path) -> Path:
    """Return a web configuration with one user, anna."""
    return write(tmp_path / "web.yml", f"anna: {hashed('secret')}")


def write(path: Path, *users: str, more: str = "") -> Path:
    """Write a web configuration with these users."""
    path.write_text("\n".join(["basic_auth_users:", *(f"  {user}" for user in users), more]))
    path.chmod(0o600)
    return path


async def status(client: ClientSession, auth: dict[str, str] | None, path: str = "/livez") -> int:
    """Return the status of the answer to a user."""
    async with client.get(path, headers=auth) as got:
        await got.read()
        return got.status


@pytest.mark.parametrize("path", PATHS)
async def test_every_path_takes_a_password(web_config: Path, path: str) -> None:
    """Health checks included, as in exporter-toolkit; what there is nobody else learns."""
    async with protected(web_config) as served, served.client() as client:
        async with client.get(path) as got:
            assert got.status == 401
            assert got.headers["WWW-Authenticate"] == 'Basic realm="refresherd", charset="UTF-8"'
            assert "payments" not in await got.text()
        expected = 404 if path in ("/nothing", "/readyz/x") else 200
        assert await status(client, ANNA, path) == expected


WRONG = {
    "another user": basic("bert", "secret"),
    "another password": basic("anna", "Secret"),
    "no password": basic("anna", ""),
    "no user": basic("", ""),
    "a longer password": basic("anna", "secret "),
    "a NUL": basic("anna", "secret\0"),
    "not ASCII": basic("anna", "s\u00e9cret"),
    "a long one": basic("anna", "x" * 4000),
}


@pytest.mark.parametrize("auth", WRONG.values(), ids=WRONG)
async def test_whatever_is_wrong_is_refused(web_config: Path, auth: dict[str, str]) -> None:
    """Twice the same as well: only what is right is remembered."""
    async with protected(web_config) as served, served.client() as client:
        assert await status(client, ANNA) == 200
        assert [await status(client, auth) for _ in range(2)] == [401, 401]


@pytest.mark.parametrize(
    "field",
    [
        "",
        "Basic",
        "Basic !",
        "Basic YW5uYQ==",
        "Basic " + b64encode(b"anna:\xff").decode(),
        "Bearer YW5uYTpzZWNyZXQ=",
        "Basic YW5uYTpzZWNyZXQ=, Basic YW5uYTpzZWNyZXQ=",
    ],
)
async def test_fields_that_hold_no_password_are_refused(web_config: Path, field: str) -> None:
    """They are not even checked."""
    async with protected(web_config) as served, served.client() as client:
        assert await status(client, {"Authorization": field}) == 401


async def test_the_scheme_is_read_as_others_read_it(web_config: Path) -> None:
    """RFC 9110, section 11.1: its case does not matter."""
    async with protected(web_config) as served, served.client() as client:
        assert await status(client, {"Authorization": "bASIC YW5uYTpzZWNyZXQ="}) == 200


async def test_passwords_may_be_long_and_of_any_language(tmp_path: Path) -> None:
    """Of a password, bcrypt looks at 72 bytes; Go and Apache ignore the rest, and so do we."""
    long = "\u043f\u0430\u0440\u043e\u043b\u044c" * 20
    first = long[: LONGEST_PASSWORD // len("\u043f".encode())]
    users = f"anna: {hashed(first)}", f"'b\u00e9rt ': {hashed('pass:word')}"
    path = write(tmp_path / "web.yml", *users)
    async with protected(path) as served, served.client() as client:
        assert await status(client, basic("anna", first)) == 200
        assert await status(client, basic("anna", long)) == 200
        assert await status(client, basic("anna", first[:-1])) == 401
        assert await status(client, basic("b\u00e9rt ", "pass:word")) == 200


async def test_headers_replace_those_of_the_pages(tmp_path: Path) -> None:
    """On every answer: pages, refusals, and those that are made later."""
    headers = (
        "http_server_config:\n  headers:\n    X-Frame-Options: deny\n"
        "    Content-Security-Policy: 'default-src https:'\n    X-XSS-Protection: ''\n"
    )
    path = write(tmp_path / "web.yml", f"anna: {hashed('secret')}", more=headers)
    async with protected(path) as served, served.client() as client:
        for auth in (None, WRONG["another user"], ANNA):
            for page in PATHS:
                async with client.get(page, headers=auth) as got:
                    assert got.headers.getall("X-Frame-Options") == ["deny"]
                    policies = got.headers.getall("Content-Security-Policy")
                    assert policies == ["default-src https:"]
                    assert "X-XSS-Protection" not in got.headers
                    await got.read()


async def test_a_right_password_is_checked_once(tmp_path: Path) -> None:
    """A scrape every second would otherwise take a good part of a processor."""
    path = write(tmp_path / "web.yml", f"anna: {hashed('secret', cost=12)}")
    async with protected(path) as served, served.client() as client:
        assert await status(client, ANNA) == 200
        began = time.process_time()
        assert [await status(client, ANNA) for _ in range(20)] == [200] * 20
        assert time.process_time() - began < 0.2 * 20


async def test_nothing_that_is_remembered_tells_a_password() -> None:
    """Memory may end up on a disk."""
    users = {"anna": Secret(hashed("secret"))}
    passwords = Passwords(KeyedExecutor(idle_timeout=0.1), BootClock())
    assert await passwords.right(users, "anna", "secret", "client")
    assert passwords.remembers(users, "anna", "secret")
    assert not passwords.remembers(users, "anna", "Secret")
    # What a dump of the process would show.
    assert "'secret'" not in repr(vars(passwords))


class SlowHashes:
    """Counts checks that run at once, and in all; each takes a moment."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.running = self.most = self.made = 0

    def checkpw(self, password: bytes, _: bytes) -> bool:
        """Return whether the password is the right one."""
        self.running += 1
        self.made += 1
        self.most = max(self.most, self.running)
        time.sleep(self.seconds)
        self.running -= 1
        return password == b"secret"


@pytest.mark.timing
async def test_wrong_passwords_take_a_quarter_of_a_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many clients guess, one check runs at a time, with rests in between."""
    slow = SlowHashes(0.02)
    monkeypatch.setattr("bcrypt.checkpw", slow.checkpw)
    users = {"anna": Secret(hashed("secret"))}
    passwords = Passwords(KeyedExecutor(idle_timeout=0.1), BootClock())
    guesses = [
        asyncio.create_task(passwords.right(users, "anna", f"guess {n}", n % 7)) for n in range(200)
    ]
    await asyncio.sleep(1.0)
    assert slow.most == 1
    assert 2 <= slow.made <= 1.0 / 0.08 + 2
    # Somebody else waits for a turn of each guesser at most, not for all their guesses.
    async with asyncio.timeout(5):
        assert await passwords.right(users, "anna", "secret", "prometheus")
    for guess in guesses:
        guess.cancel()
    made = slow.made
    await asyncio.sleep(0.3)
    assert slow.made <= made + 1  # what nobody waits for is not checked
    passwords.close()


async def test_equal_guesses_are_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scraper with ten connections asks with one password."""
    slow = SlowHashes(0.05)
    monkeypatch.setattr("bcrypt.checkpw", slow.checkpw)
    users = {"anna": Secret(hashed("secret"))}
    passwords = Passwords(KeyedExecutor(idle_timeout=0.1), BootClock())
    asked = [passwords.right(users, "anna", "secret", n) for n in range(10)]
    assert await asyncio.gather(*asked) == [True] * 10
    assert slow.made == 1


async def test_a_client_does_not_wait_for_ever(tmp_path: Path) -> None:
    """It learns that it has to try again."""
    path = write(tmp_path / "web.yml", f"anna: {hashed('secret', cost=11)}")
    async with (
        protected(path, patience=0.01) as served,
        served.client() as client,
        client.get("/livez", headers=ANNA) as got,
    ):
        assert (got.status, got.headers["Retry-After"]) == (503, "1")


@pytest.mark.timing
async def test_unknown_users_take_as_long_as_known_ones(tmp_path: Path) -> None:
    """Otherwise the time of an answer would tell who has an account."""
    path = write(tmp_path / "web.yml", f"anna: {hashed('secret', cost=10)}")
    async with protected(path) as served, served.client() as client:

        async def fastest(user: str) -> float:
            taken = []
            for number in range(3):
                began = time.monotonic()
                assert await status(client, basic(user, f"guess {number}")) == 401
                taken.append(time.monotonic() - began)
                await asyncio.sleep(taken[-1] * 4)
            return min(taken)

        known, unknown = await fastest("anna"), await fastest("nobody")
        assert 1 / 3 < known / unknown < 3


async def test_no_password_and_no_hash_is_logged(
    web_config: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in an event, nor by a library."""
    caplog.set_level(logging.DEBUG)
    web_config.write_text(web_config.read_text() + "\n  bert: hunter2hunter2\n")
    async with protected(web_config) as served, served.client() as client:
        await status(client, ANNA)
        await asyncio.sleep(0.1)
        told = f"{served.observer.events} {caplog.text}"
        assert "WebConfigRefused" in told
        assert "hunter2" not in told
        assert "$2b$" not in told
        assert "secret" not in told.replace("secret as", "")


async def test_passwords_are_checked_again_after_a_check_could_not_be_made() -> None:
    """A host that had no thread to spare for a moment must not keep everybody out for good."""

    class Exhausted(KeyedExecutor):
        """Has no thread for the first call."""

        calls = 0

        async def call(self, key: Hashable, run: Callable[[], T]) -> T:
            """Raise once."""
            self.calls += 1
            if self.calls == 1:
                raise OSError(EAGAIN, "no thread")
            return await super().call(key, run)

    passwords, users = Passwords(Exhausted(), BootClock()), {"anna": Secret(hashed("secret"))}
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await passwords.right(users, "anna", "secret", 1000)
    async with asyncio.timeout(20):
        assert await passwords.right(users, "anna", "secret", 1000)
