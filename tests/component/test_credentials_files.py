"""Credentials in real files."""

import asyncio
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from refresherd.adapters.credentials import files, source
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import ApiKeyFile, App, Certificate, Credential, Endpoint, TokenFile
from refresherd.engine.ports import CredentialSource
from refresherd.host.keyed_executor import KeyedExecutor
from support.fakes import API_KEY, ENTITY_ID


def made(credential: Credential, executor: KeyedExecutor | None = None) -> CredentialSource:
    """Return the source of an app with such a credential."""
    app = App("payments", Endpoint("https://amer.smartkey.io"), credential)
    return source(app, {}, executor or KeyedExecutor())


async def test_a_key_file_is_read_anew_each_time(tmp_path: Path) -> None:
    """A key that was replaced is used from the next login on."""
    path = tmp_path / "payments.key"
    path.write_text(f"{API_KEY}\n")
    key = made(ApiKeyFile(path))
    assert (await key.read()).reveal() == API_KEY
    assert key.entity_id == ENTITY_ID
    path.write_text("QW5vdGhlcg==")
    assert (await key.read()).reveal() == "QW5vdGhlcg=="
    assert key.entity_id == ""


async def test_a_token_file_is_read(tmp_path: Path) -> None:
    """It holds what a person or another host obtained."""
    path = tmp_path / "bootstrap.token"
    path.write_text("tUk3wMZ-0_x\n")
    token = made(TokenFile(path))
    assert (await token.read()).reveal() == "tUk3wMZ-0_x"
    assert token.entity_id == ""


async def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    """The path may be a mistake, and a disk image must not end up in memory."""
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(Retryable, match="over 65536 bytes"):
        await made(ApiKeyFile(path)).read()


@pytest.mark.parametrize(
    ("name", "message"), [("none.key", "No such file or directory"), (".", "Is a directory")]
)
async def test_an_unreadable_file_is_named(tmp_path: Path, name: str, message: str) -> None:
    """An operator who forgot to mount it needs the path."""
    path = tmp_path / name
    with pytest.raises(Retryable) as caught:
        await made(ApiKeyFile(path)).read()
    assert caught.value.reason is Reason.CREDENTIAL
    assert caught.value.message == f"{path}: {message}"


def rewrite(path: Path) -> None:
    """Write into the same file: its size tells."""
    path.write_text(API_KEY + "\n")


def replace(path: Path) -> None:
    """Put another file in its place, with the same size and time: its inode tells."""
    other = path.with_suffix(".new")
    other.write_text(path.read_text())
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    other.rename(path)


def touch(path: Path) -> None:
    """Write the same again, later: its time tells."""
    os.utime(path, ns=(0, 0))


@pytest.mark.parametrize("change", [rewrite, replace, touch, Path.unlink])
async def test_the_stamp_changes_with_the_file(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    """A refused key is tried again at once when somebody replaced it."""
    path = tmp_path / "payments.key"
    path.write_text(API_KEY)
    key = made(ApiKeyFile(path))
    before = await key.stamp()
    assert await key.stamp() == before
    change(path)
    assert await key.stamp() != before


async def test_the_stamp_follows_kubernetes_symbolic_links(tmp_path: Path) -> None:
    """A mounted secret's own link never changes, only one further along does."""
    for version in ("v1", "v2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "key").write_text(API_KEY)
    (tmp_path / "..data").symlink_to("v1")
    (tmp_path / "key").symlink_to("..data/key")
    key = made(ApiKeyFile(tmp_path / "key"))
    before = await key.stamp()
    (tmp_path / "..new").symlink_to("v2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    assert await key.stamp() != before


@pytest.mark.parametrize("name", ["app.pem", "app.key"])
async def test_a_certificate_apps_stamp_changes_with_either_file(tmp_path: Path, name: str) -> None:
    """Renewing a certificate replaces one or both."""
    for file in ("app.pem", "app.key"):
        (tmp_path / file).write_text("old")
    certificate = made(Certificate(ENTITY_ID, tmp_path / "app.pem", tmp_path / "app.key"))
    before = await certificate.stamp()
    assert await certificate.stamp() == before
    (tmp_path / name).write_text("newer")
    assert await certificate.stamp() != before


async def test_a_hanging_disk_holds_up_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One dead mount must not keep the other apps from their keys, nor look like a new key."""
    monkeypatch.setattr(files, "PATIENCE_SECONDS", 0.05)
    executor = KeyedExecutor()
    dead, live = tmp_path / "dead", tmp_path / "live"
    for directory in (dead, live):
        directory.mkdir()
        (directory / "key").write_text(API_KEY)
    hanging = made(ApiKeyFile(dead / "key"), executor)
    certificate = made(Certificate(ENTITY_ID, dead / "key", dead / "key"), executor)
    before = await hanging.stamp(), await certificate.stamp()
    release = threading.Event()
    stuck = asyncio.create_task(executor.call(dead, release.wait))
    await asyncio.sleep(0)
    try:
        with pytest.raises(Retryable) as caught:
            await hanging.read()
        assert caught.value.message == f"{dead / 'key'}: the disk takes over 0.05 s"
        assert (await hanging.stamp(), await certificate.stamp()) == before
        assert (await made(ApiKeyFile(live / "key"), executor).read()).reveal() == API_KEY
    finally:
        release.set()
        await stuck


async def test_a_pipe_in_a_keys_place_holds_up_no_neighbour(tmp_path: Path) -> None:
    """Opening it would block until somebody writes, and with it every key of the directory."""
    os.mkfifo(tmp_path / "key")
    with pytest.raises(Retryable, match="not a regular file"):
        await made(ApiKeyFile(tmp_path / "key")).read()
