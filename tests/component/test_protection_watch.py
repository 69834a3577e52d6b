"""The web configuration in force, while its files change."""

import asyncio
import os
import shutil
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from refresherd.domain.events import WebConfigRead, WebConfigRefused
from support.protected import Protected, protected
from support.web_tls import Authority, basic, hashed

ANNA = basic("anna", "secret")
TLS = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n"
CLIENTS = f"{TLS}  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"
USERS = f"basic_auth_users:\n  anna: {hashed('secret')}\n"


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    """Return an authority that has issued the server's certificate."""
    authority = Authority(tmp_path)
    authority.issue("server", "localhost", "127.0.0.1")
    return authority


async def until_read(served: Protected, kind: type, number: int = 1) -> None:
    """Return once there have been so many events of a kind."""
    async with asyncio.timeout(20):
        while len(served.observer.of(kind)) < number:  # noqa: ASYNC110  # a fake has no event
            await asyncio.sleep(0.02)


def faults(served: Protected) -> str:
    """Return why the last web configuration was refused."""
    return "\n".join(served.observer.of(WebConfigRefused)[-1].faults)


async def serial(served: Protected, context: ssl.SSLContext) -> int:
    """Return the serial number of the certificate that a new client gets."""
    _, writer = await asyncio.open_connection(
        *served.address, ssl=context, server_hostname="localhost"
    )
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(der).serial_number


async def test_a_renewed_certificate_is_served_to_new_clients(
    ca: Authority, tmp_path: Path
) -> None:
    """Without a restart, and those who are connected stay so."""
    path = tmp_path / "web.yml"
    path.write_text(TLS)
    context = ca.client_context()
    async with protected(path) as served:
        old = await serial(served, context)
        reader, writer = await asyncio.open_connection(
            *served.address, ssl=context, server_hostname="localhost"
        )
        ca.issue("server", "localhost", "127.0.0.1")
        await until_read(served, WebConfigRead)
        assert await serial(served, context) != old
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        assert await reader.readuntil(b"ok\n")
        writer.close()
        assert served.observer.of(WebConfigRefused) == []


async def test_links_of_a_mounted_secret_are_followed(ca: Authority, tmp_path: Path) -> None:
    """Kubernetes renews a secret by changing one symbolic link."""
    for name in ("v1", "v2"):
        (tmp_path / name).mkdir()
    pair = ca.issue("server", "localhost")
    for source in (pair.cert, pair.key):
        shutil.move(source, tmp_path / "v1")
    pair = ca.issue("server", "localhost")
    for source in (pair.cert, pair.key):
        shutil.move(source, tmp_path / "v2")
    (tmp_path / "data").symlink_to("v1")
    path = tmp_path / "web.yml"
    path.write_text(TLS.replace("server.", "data/server."))
    async with protected(path) as served:
        old = await serial(served, ca.client_context())
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").rename(tmp_path / "data")
        await until_read(served, WebConfigRead)
        assert await serial(served, ca.client_context()) != old


async def test_a_new_password_is_valid_at_once_and_the_old_one_no_more(tmp_path: Path) -> None:
    """Also for a client whose old password was checked before."""
    path = tmp_path / "web.yml"
    path.write_text(USERS)
    async with protected(path) as served, served.client() as client:

        async def status(password: str) -> int:
            async with client.get("/livez", headers=basic("anna", password)) as got:
                return got.status

        assert (await status("secret"), await status("new")) == (200, 401)
        path.write_text(f"basic_auth_users:\n  anna: {hashed('new')}\n")
        await until_read(served, WebConfigRead)
        assert (await status("secret"), await status("new")) == (401, 200)


BROKEN = {
    "no YAML": ("x: [", "invalid YAML"),
    "an unknown key": (f"{USERS}x: 1\n", "x: unknown key"),
    "no password": ("", "basic_auth_users is empty now; restart refresherd if that is meant"),
    "half a file": (USERS[:30], "this is not a bcrypt hash"),
    "TLS": (f"{USERS}{TLS}", "TLS was switched on or off; restart refresherd if that is meant"),
}


@pytest.mark.usefixtures("ca")
@pytest.mark.parametrize(("text", "expected"), BROKEN.values(), ids=BROKEN)
async def test_a_faulty_file_changes_nothing_and_is_reported(
    tmp_path: Path, text: str, expected: str
) -> None:
    """The old users stay in force; as soon as the file is good again, it says so."""
    path = tmp_path / "web.yml"
    path.write_text(USERS)
    async with protected(path) as served, served.client() as client:

        async def status(auth: dict[str, str] | None) -> int:
            async with client.get("/livez", headers=auth) as got:
                return got.status

        path.write_text(text)
        await until_read(served, WebConfigRefused)
        assert expected in faults(served)
        assert str(path) in faults(served)
        assert (await status(None), await status(ANNA)) == (401, 200)
        path.write_text(USERS)
        await until_read(served, WebConfigRead)
        assert (await status(None), await status(ANNA)) == (401, 200)
        assert len(served.observer.of(WebConfigRefused)) == 1


LESS = {
    "no TLS": ("", "TLS was switched on or off"),
    "clients without a certificate": (TLS, "clients need no certificate any more"),
    "clients of any name": (CLIENTS, "client_allowed_sans is empty now"),
}


@pytest.mark.parametrize(("text", "expected"), LESS.values(), ids=LESS)
async def test_no_change_takes_protection_away(
    ca: Authority, tmp_path: Path, text: str, expected: str
) -> None:
    """A file that is half written may lack its last lines."""
    path = tmp_path / "web.yml"
    path.write_text(f"{CLIENTS}  client_allowed_sans: [client.example]\n")
    context = ca.client_context(ca.issue("client", "client.example"))
    async with protected(path) as served:
        path.write_text(text)
        await until_read(served, WebConfigRefused)
        assert expected in faults(served)
        assert await serial(served, context)
        protection = served.watch.current
        assert protection is not None
        assert protection.tls is not None
        assert protection.tls.allowed_sans == {"client.example"}


async def test_a_file_is_not_read_while_it_is_written(ca: Authority, tmp_path: Path) -> None:
    """A certificate and its key are two files, and come one after the other."""
    path = tmp_path / "web.yml"
    path.write_text(TLS)
    async with protected(path, every=3600) as served:
        old = await serial(served, ca.client_context())
        fresh = ca.issue("fresh", "localhost")
        shutil.copy(fresh.cert, tmp_path / "server.pem")
        await served.watch.look()
        shutil.copy(fresh.key, tmp_path / "server.key")
        for _ in range(2):
            await served.watch.look()
        assert len(served.observer.of(WebConfigRead)) == 1
        assert served.observer.of(WebConfigRefused) == []
        assert await serial(served, ca.client_context()) != old


async def test_pages_are_served_once_the_certificate_is_there(
    ca: Authority, tmp_path: Path
) -> None:
    """cert-manager may be slower than the daemon; until then nothing is served, TLS or not."""
    os.rename(tmp_path / "server.pem", tmp_path / "later.pem")  # noqa: PTH104  # as mv does
    path = tmp_path / "web.yml"
    path.write_text(TLS)
    async with protected(path) as served:
        await until_read(served, WebConfigRefused)
        async with served.client() as client, client.get("/livez") as got:
            assert got.status == 503
            assert "web configuration" in await got.text()
        (tmp_path / "later.pem").rename(tmp_path / "server.pem")
        await until_read(served, WebConfigRead)
        async with served.client(ca.client_context()) as client, client.get("/livez") as got:
            assert got.status == 200


async def test_a_plain_connection_from_before_gets_nothing_afterwards(tmp_path: Path) -> None:
    """It was opened when there was no certificate yet, and sends its request when there is one."""
    path = tmp_path / "web.yml"
    path.write_text(TLS)
    async with protected(path) as served:
        reader, writer = await asyncio.open_connection(*served.address)
        await asyncio.sleep(0.1)
        Authority(tmp_path).issue("server", "localhost")
        await until_read(served, WebConfigRead)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/1.1 503 " in await reader.readuntil(b"\r\n")
        writer.close()


async def test_a_new_authority_replaces_the_old_one(ca: Authority, tmp_path: Path) -> None:
    """Whoever had a certificate of the old one is out, with a remembered session as well."""
    path = tmp_path / "web.yml"
    path.write_text(CLIENTS.replace("ca.pem", "clients.pem"))
    shutil.copy(ca.ca_file, tmp_path / "clients.pem")
    context = ca.client_context(ca.issue("client", "client.example"))
    async with protected(path) as served:
        assert await serial(served, context)
        shutil.copy(Authority(tmp_path, "new").ca_file, tmp_path / "clients.pem")
        await until_read(served, WebConfigRead)
        async with served.client(context) as client:
            with pytest.raises((OSError, ssl.SSLError)):
                await client.get("/livez")
