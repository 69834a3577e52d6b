"""LoadCredential= with an app's socket: which systemd units get the token."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from refresherd.adapters.outputs.sockets import SocketOutput
from refresherd.domain import session_state
from refresherd.domain.events import AccessDenied
from refresherd.domain.model import Access, Format, Ownership, SocketSpec
from refresherd.host.admission import Admission
from refresherd.host.keyed_executor import KeyedExecutor
from support.api_place import IDLE_TIMEOUT
from support.fake_app import FakeApp
from support.fakes import grants
from support.other_users import AS_ROOT, US, Identity, reachable

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
async def serving(access: Access) -> AsyncIterator[tuple[FakeApp, Path]]:
    """Serve an app's token on a socket that everybody may connect to."""
    fake_app = FakeApp(grants())
    now = fake_app.clock.now()
    session = session_state.granted(
        session_state.begin(now), next(grants()), now, fake_app.app.timing, 0.0
    )
    assert session.token is not None
    with reachable() as directory:
        path = directory / "payments.sock"
        spec = SocketSpec(path, Format.RAW, Ownership(0o666))
        output = SocketOutput(
            replace(fake_app.app, access=access),
            spec,
            fake_app.context,
            KeyedExecutor(idle_timeout=IDLE_TIMEOUT),
            Admission(fake_app.context.observer),
        )
        await output.put(session.token)
        yield fake_app, path
        output.close()


async def claimed(path: Path, suffix: str, who: Identity = US) -> bytes:
    """Return what a process reads that connects from an address with this suffix."""
    command = who.command(CLAIM.format(suffix=suffix.encode()), path)
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    text, _ = await process.communicate()
    assert process.returncode == 0
    return text


@pytest.mark.parametrize("unit", ["web.service", "db@1.service"])
async def test_a_named_unit_gets_the_token(unit: str) -> None:
    """It needs only `LoadCredential=token:/run/refresherd/payments.sock`."""
    async with serving(UNITS) as (fake_app, path):
        assert await claimed(path, f"/unit/{unit}/token") == b"token-1"
        assert fake_app.observer.of(AccessDenied) == []


@pytest.mark.parametrize("unit", ["other.service", "web.service.service", "db@2.service"])
async def test_any_other_unit_gets_nothing_and_is_reported(unit: str) -> None:
    """The log tells the administrator why the unit's credential is empty."""
    async with serving(UNITS) as (fake_app, path):
        assert await claimed(path, f"/unit/{unit}/token") == b""
        (denied,) = fake_app.observer.of(AccessDenied)
        assert (denied.app, denied.socket, denied.uid) == ("payments", str(path), 0)
        assert denied.unit == unit


async def test_an_app_whose_access_names_no_units_serves_any_unit() -> None:
    """Then only the socket's mode decides, and root is always admitted."""
    for access in (Access(), Access(users=("1234",))):
        async with serving(access) as (_, path):
            assert await claimed(path, "/unit/other.service/token") == b"token-1"


async def test_root_itself_is_served() -> None:
    """Root could read the token from the daemon's memory anyway."""
    async with serving(UNITS) as (_, path):
        assert await claimed(path, "") == b"token-1"
        assert await claimed(path, "/something/else") == b"token-1"


async def test_a_users_claim_to_be_a_unit_is_ignored() -> None:
    """Any process may bind such an address; the socket's mode has admitted the user."""
    async with serving(UNITS) as (fake_app, path):
        for unit in ("web.service", "other.service"):
            assert await claimed(path, f"/unit/{unit}/token", Identity("1234")) == b"token-1"
        assert fake_app.observer.of(AccessDenied) == []
