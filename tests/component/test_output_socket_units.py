"""systemd's LoadCredential= at a token's socket: which units get the token, and who may ask so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from refresherd.adapters.outputs.socket import SocketOutput
from refresherd.domain import session_state
from refresherd.domain.events import AccessDenied
from refresherd.domain.model import Access, Format, Ownership, SocketSpec
from refresherd.host.keyed_executor import KeyedExecutor
from support.api_place import BRIEF
from support.fake_app import Kept
from support.fakes import grants
from support.other_users import AS_ROOT, US, As, reachable

pytestmark = AS_ROOT

UNITS = Access(units=("web.service", "db@1.service"))

CLAIM = """
connection = socket.socket(socket.AF_UNIX)
connection.bind(b"\\0" + os.urandom(8).hex().encode() + {suffix!r})
connection.connect(path)
while received := connection.recv(65536):
    sys.stdout.write(received.decode())
"""
"""Connects as systemd does for a unit: from an abstract address that names it."""


@asynccontextmanager
async def serving(access: Access) -> AsyncIterator[tuple[Kept, Path]]:
    """Serve an app's token on a socket that is open to all."""
    kept = Kept(grants())
    now = kept.clock.now()
    session = session_state.granted(
        session_state.begin(now), next(grants()), now, kept.app.timing, 0.0
    )
    assert session.token is not None
    with reachable() as directory:
        path = directory / "payments.sock"
        spec = SocketSpec(path, Format.RAW, Ownership(0o666))
        output = SocketOutput(
            replace(kept.app, access=access), spec, kept.context, KeyedExecutor(BRIEF)
        )
        await output.put(session.token)
        yield kept, path
        output.close()


async def claimed(path: Path, suffix: str, who: As = US) -> bytes:
    """Return what is read by a process that connects from an address with this end."""
    command = who.command(CLAIM.format(suffix=suffix.encode()), path)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    text, _ = await process.communicate()
    assert process.returncode == 0
    return text


@pytest.mark.parametrize("unit", ["web.service", "db@1.service"])
async def test_a_unit_that_is_named_gets_the_token(unit: str) -> None:
    """`LoadCredential=token:/run/refresherd/payments.sock` in it is all it takes."""
    async with serving(UNITS) as (kept, path):
        assert await claimed(path, f"/unit/{unit}/token") == b"token-1"
        assert kept.observer.of(AccessDenied) == []


@pytest.mark.parametrize("unit", ["other.service", "web.service.service", "db@2.service"])
async def test_another_unit_gets_nothing_and_is_told_of(unit: str) -> None:
    """Its administrator sees in the log why its credential is empty."""
    async with serving(UNITS) as (kept, path):
        assert await claimed(path, f"/unit/{unit}/token") == b""
        (denied,) = kept.observer.of(AccessDenied)
        assert (denied.app, denied.socket, denied.uid) == ("payments", str(path), 0)
        assert denied.unit == unit


async def test_without_units_in_its_access_an_app_serves_any_unit() -> None:
    """The socket's mode is then the whole of it, and root may always."""
    for access in (Access(), Access(users=("1234",))):
        async with serving(access) as (_, path):
            assert await claimed(path, "/unit/other.service/token") == b"token-1"


async def test_root_itself_is_served() -> None:
    """It is who may read the daemon's memory."""
    async with serving(UNITS) as (_, path):
        assert await claimed(path, "") == b"token-1"
        assert await claimed(path, "/something/else") == b"token-1"


async def test_a_users_claim_counts_for_nothing_either_way() -> None:
    """Any process may bind any such address: it is the mode of the socket that let it in."""
    async with serving(UNITS) as (kept, path):
        for unit in ("web.service", "other.service"):
            assert await claimed(path, f"/unit/{unit}/token", As("1234")) == b"token-1"
        assert kept.observer.of(AccessDenied) == []
