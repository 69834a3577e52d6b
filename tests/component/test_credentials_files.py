"""Credentials from real files."""

import asyncio
import json
import os
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from refresherd.adapters.credentials.sources import source
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import (
    ApiKeyCommand,
    ApiKeyEnv,
    ApiKeyFile,
    App,
    Certificate,
    Credential,
    Endpoint,
    LdapApp,
    SystemdCredential,
    TokenFile,
)
from refresherd.engine.ports import CredentialSource
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import API_KEY, ENTITY_ID

OTHER_UUID = "8f2b7a36-59c2-4f0e-9c52-2d1f3e0a7c12"

OTHER_KEY = b64encode(f"{OTHER_UUID}:sesame".encode()).decode()


def source_of(
    credential: Credential,
    executor: KeyedExecutor | None = None,
    patience: float = 10.0,
    environ: Mapping[str, str] | None = None,
) -> CredentialSource:
    """Return the source of an app with this credential."""
    app = App("payments", Endpoint("https://amer.smartkey.io"), credential)
    return source(app, environ or {}, executor or KeyedExecutor(), patience=patience)


async def test_a_key_file_is_read_anew_each_time(tmp_path: Path) -> None:
    """A replaced key is used from the next login on."""
    path = tmp_path / "payments.key"
    path.write_text(f"{API_KEY}\n")
    key = source_of(ApiKeyFile(path))
    assert (await key.read()).reveal() == API_KEY
    assert key.entity_id == ENTITY_ID
    path.write_text(OTHER_KEY)
    assert (await key.read()).reveal() == OTHER_KEY
    assert key.entity_id == OTHER_UUID


async def test_a_token_file_holds_a_bearer_token(tmp_path: Path) -> None:
    """A person or another host obtained the token."""
    path = tmp_path / "bootstrap.token"
    path.write_text("tUk3wMZ-0_x\n")
    token = source_of(TokenFile(path))
    assert (await token.read()).reveal() == "tUk3wMZ-0_x"
    assert token.entity_id == ""


async def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    """The path may be wrong, and a disk image must not be read into memory."""
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(Retryable, match="longer than 65536 bytes"):
        await source_of(ApiKeyFile(path)).read()


@pytest.mark.parametrize(
    ("name", "message"), [("none.key", "No such file or directory"), (".", "Is a directory")]
)
async def test_the_message_for_an_unreadable_file_names_it(
    tmp_path: Path, name: str, message: str
) -> None:
    """An operator who forgot to mount the file needs its path."""
    path = tmp_path / name
    with pytest.raises(Retryable) as caught:
        await source_of(ApiKeyFile(path)).read()
    assert caught.value.reason is Reason.CREDENTIAL
    assert caught.value.message.startswith(f"api_key_file {path}: {message}; ")


ACCOUNT = "5cbd5b4a-4f0d-4d3e-8a51-2f5a0d0f3c77"


async def test_an_ldap_app_logs_in_by_its_account_its_name_and_its_password(tmp_path: Path) -> None:
    """These are the fields of DSM's API description; the newline is the editor's, a blank is not.

    The login names the account and the app, so that the limiter of failed logins does not take two
    apps with one password for the same credential.
    """
    path = tmp_path / "payments.password"
    path.write_text(" pass word\u00e9\n")
    app = source_of(LdapApp(ACCOUNT, "payments", path))
    assert json.loads((await app.read()).reveal()) == {
        "method": "auth-by-app-name",
        "acct_id": ACCOUNT,
        "name": "payments",
        "password": " pass word\u00e9",
    }
    assert app.entity_id == ""
    other = source_of(LdapApp(ACCOUNT, "billing", path))
    assert (await other.read()).fingerprint() != (await app.read()).fingerprint()


async def test_a_new_password_is_seen_as_a_new_credential(tmp_path: Path) -> None:
    """A refused password is tried again as soon as somebody replaces it."""
    path = tmp_path / "payments.password"
    path.write_text("old")
    app = source_of(LdapApp(ACCOUNT, "payments", path))
    before, stamp = await app.read(), await app.stamp()
    path.write_text("newer")
    assert await app.stamp() != stamp
    assert await app.read() != before


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty; it must hold the password"),
        (b"one\ntwo\n", "it holds more than one line; keep only the password"),
        (b"x" * 70_000, "it is longer than 65536 bytes, so it is not a password"),
    ],
)
async def test_an_unusable_password_names_its_file(
    tmp_path: Path, content: bytes, message: str
) -> None:
    """No login is made with it, for a wrong password may lock the account."""
    path = tmp_path / "payments.password"
    path.write_bytes(content)
    with pytest.raises(Retryable) as caught:
        await source_of(LdapApp(ACCOUNT, "payments", path)).read()
    assert (caught.value.reason, caught.value.message) == (
        Reason.CREDENTIAL,
        f"password_file {path}: {message}",
    )


def rewrite(path: Path) -> None:
    """Write to the same file, which changes its size."""
    path.write_text(API_KEY + "\n")


def replace(path: Path) -> None:
    """Put another file of the same size and time in its place, which changes the inode."""
    other = path.with_suffix(".new")
    other.write_text(path.read_text())
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)


def touch(path: Path) -> None:
    """Write the same content later, which changes the time."""
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("change", [rewrite, replace, touch, Path.unlink])
async def test_the_stamp_changes_with_the_file(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """A refused key is tried again as soon as somebody replaces it."""
    path = tmp_path / "payments.key"
    path.write_text(API_KEY)
    key = source_of(ApiKeyFile(path))
    before = await key.stamp()
    assert await key.stamp() == before
    change(path)
    assert await key.stamp() != before


async def test_the_stamp_follows_kubernetes_symbolic_links(tmp_path: Path) -> None:
    """The link of a mounted secret never changes, only the one that it points to."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "key").write_text(API_KEY)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "key").symlink_to("..data/key")
    key = source_of(ApiKeyFile(tmp_path / "key"))
    before = await key.stamp()
    (tmp_path / "..new").symlink_to("v2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert await key.stamp() != before


@pytest.mark.parametrize("name", ["app.pem", "app.key"])
async def test_a_certificate_apps_stamp_changes_with_either_file(tmp_path: Path, name: str) -> None:
    """Renewing a certificate replaces one file or both."""
    for file in ("app.pem", "app.key"):
        (tmp_path / file).write_text("old")
    certificate = source_of(Certificate(ENTITY_ID, tmp_path / "app.pem", tmp_path / "app.key"))
    before = await certificate.stamp()
    assert await certificate.stamp() == before
    (tmp_path / name).write_text("newer")
    assert await certificate.stamp() != before


async def test_a_hanging_disk_holds_up_only_its_own_credentials(tmp_path: Path) -> None:
    """One dead mount must not keep other apps from their keys, and must not look like a new key."""
    executor = KeyedExecutor()
    dead, live = tmp_path / "dead", tmp_path / "live"
    for directory in (dead, live):
        directory.mkdir()
        (directory / "key").write_text(API_KEY)
    hanging = source_of(ApiKeyFile(dead / "key"), executor, 0.05)
    certificate = source_of(Certificate(ENTITY_ID, dead / "key", dead / "key"), executor, 0.05)
    before = await hanging.stamp(), await certificate.stamp()
    release = threading.Event()
    stuck = asyncio.create_task(executor.call(dead, release.wait))
    await asyncio.sleep(0)
    try:
        with pytest.raises(Retryable) as caught:
            await hanging.read()
        message = f"api_key_file {dead / 'key'}: no answer for 0.05 s; its filesystem hangs or is "
        assert caught.value.message.startswith(message)
        assert (await hanging.stamp(), await certificate.stamp()) == before
        assert (await source_of(ApiKeyFile(live / "key"), executor).read()).reveal() == API_KEY
    finally:
        release.set()
        await stuck


async def test_a_named_pipe_in_a_keys_place_is_refused_at_once(tmp_path: Path) -> None:
    """Opening it would block until somebody writes, and hold up every key in the directory."""
    os.mkfifo(tmp_path / "key")
    with pytest.raises(Retryable, match="not a regular file"):
        await source_of(ApiKeyFile(tmp_path / "key")).read()


def close(path: Path) -> None:
    """Take the right to read it away, which changes neither its content nor its time."""
    path.chmod(0)


@pytest.mark.parametrize("change", [rewrite, replace, touch, close, Path.unlink])
async def test_a_change_of_any_needed_file_is_seen(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """An app that waits for its key, its certificate or a CA goes on as soon as one is mended."""
    names = ("payments.key", "payments.crt", "ca.pem")
    key, certificate, authorities = paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_text(API_KEY)
    endpoint = Endpoint("https://amer.smartkey.io", authorities)
    for credential, needed in (
        (ApiKeyFile(key), (key, authorities)),
        (Certificate(ENTITY_ID, certificate, key), (certificate, key, authorities)),
        (ApiKeyEnv("KEY"), (authorities,)),
        (ApiKeyCommand((str(key),)), (authorities,)),
    ):
        files = source(App("payments", endpoint, credential), {}, KeyedExecutor())
        for path in needed:
            path.unlink(missing_ok=True)
            path.write_text(API_KEY)
            before = await files.files()
            assert await files.files() == before
            change(path)
            assert await files.files() != before


async def test_a_program_that_is_installed_is_seen(tmp_path: Path) -> None:
    """An app whose key a program prints goes on as soon as there is one on PATH that can run."""
    program = tmp_path / "vault"
    command = source_of(ApiKeyCommand(("vault", "read")), environ={"PATH": str(tmp_path)})
    missing = await command.files()
    program.write_text("#!/bin/sh")
    assert await command.files() == missing, "nobody may run it yet"
    program.chmod(0o755)
    assert await command.files() != missing


async def test_a_credential_from_systemd_is_a_file_in_its_directory(tmp_path: Path) -> None:
    """Without a unit, or one that names it, there is none, and the message says what passes it."""
    (tmp_path / "payments").write_text(API_KEY)
    credential = SystemdCredential("payments", tmp_path)
    assert (await source_of(credential).read()).reveal() == API_KEY
    for missing in (SystemdCredential("other", tmp_path), SystemdCredential("other", None)):
        with pytest.raises(Retryable) as caught:
            await source_of(missing).read()
        assert caught.value.reason is Reason.CREDENTIAL
        assert caught.value.message.startswith(
            "api_key_credential other: systemd has not passed it; add LoadCredential=NAME:FILE to"
        )
