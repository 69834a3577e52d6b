"""SSL contexts from real files."""

import asyncio
import os
import ssl
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from refresherd.adapters.dsm import trust
from refresherd.adapters.dsm.trust import Context, Trust, make_context
from refresherd.domain.errors import Reason, Retryable
from refresherd.host.keyed_executor import KeyedExecutor
from support.dsm_loopback import Authority
from support.fakes import FakeClock


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return a CA."""
    return Authority(tmp_path)


def fault(files: Trust) -> str:
    """Return why no context can be made."""
    with pytest.raises(Retryable) as caught:
        make_context(files)
    assert caught.value.reason is Reason.TLS
    return caught.value.message


def test_a_context_verifies_everything(authority: Authority) -> None:
    """There is no setting that turns it off."""
    for files in (Trust(), Trust(authority.ca_file)):
        context = make_context(files)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_session_keys_are_not_written_down(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority
) -> None:
    """Whoever reads such a file reads every token off the wire."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert make_context(Trust(authority.ca_file)).keylog_filename is None


def test_a_ca_file_of_no_use_is_named(tmp_path: Path) -> None:
    """The path is what the operator mends."""
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    assert fault(Trust(junk)) == f"{junk}: holds no CA certificate in PEM"
    assert fault(Trust(tmp_path / "none.pem")) == f"{tmp_path}/none.pem: No such file or directory"
    assert fault(Trust(tmp_path)) == f"{tmp_path}: Is a directory"


def junk(key_file: Path) -> None:
    """Write no key into it."""
    key_file.write_text("junk")


def lock(key_file: Path) -> None:
    """Protect it with a password, for which OpenSSL would ask the terminal."""
    key = load_pem_private_key(key_file.read_bytes(), None)
    locked = BestAvailableEncryption(b"password")
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))


def exchange(key_file: Path) -> None:
    """Put another certificate's key there."""
    (key_file.parent / "other").mkdir()
    _, other = Authority(key_file.parent / "other").issue()
    other.rename(key_file)


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (junk, "are not a certificate and its unlocked key, both in PEM"),
        (lock, "are not a certificate and its unlocked key, both in PEM"),
        (exchange, "do not belong together"),
    ],
)
def test_a_client_certificate_of_no_use_is_named(
    authority: Authority, spoil: Callable[[Path], None], what: str
) -> None:
    """A renewal may have replaced one file and not yet the other."""
    cert_file, key_file = authority.issue("app")
    spoil(key_file)
    files = Trust(authority.ca_file, cert_file, key_file)
    assert fault(files) == f"{cert_file} and {key_file} {what}"


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_certificate_or_key_is_named(authority: Authority, missing: int) -> None:
    """OpenSSL would not say which of the two."""
    files = authority.issue("app")
    files[missing].unlink()
    assert fault(Trust(None, *files)) == f"{files[missing]}: No such file or directory"


async def test_one_context_serves_all_until_the_files_change(
    authority: Authority, tmp_path: Path
) -> None:
    """Each would cost 20 ms and 831 KiB; the files are looked at once a second at most."""
    clock = FakeClock()
    context = Context(Trust(authority.ca_file), KeyedExecutor(), clock)
    first = await context.current()
    assert await context.current() is first
    clock.advance(trust.CHECK_SECONDS)
    assert await context.current() is first
    os.utime(authority.ca_file, ns=(0, 0))
    assert await context.current() is first
    clock.advance(trust.CHECK_SECONDS)
    second = await context.current()
    assert second is not first
    authority.ca_file.rename(tmp_path / "elsewhere.pem")
    clock.advance(trust.CHECK_SECONDS)
    for _ in range(2):
        with pytest.raises(Retryable):
            await context.current()
    (tmp_path / "elsewhere.pem").rename(authority.ca_file)
    assert (await context.current()).verify_mode is ssl.CERT_REQUIRED


async def test_a_burst_at_the_start_makes_one_context(authority: Authority) -> None:
    """A thousand apps begin at once."""
    context = Context(Trust(authority.ca_file), KeyedExecutor(), FakeClock())
    made = await asyncio.gather(*[context.current() for _ in range(50)])
    assert {id(one) for one in made} == {id(made[0])}


async def test_a_hanging_disk_leaves_the_context_at_hand_in_use(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens must not run out because a CA's file cannot be looked at."""
    monkeypatch.setattr(trust, "PATIENCE_SECONDS", 0.05)
    clock, executor = FakeClock(), KeyedExecutor()
    files = Trust(authority.ca_file)
    context = Context(files, executor, clock)
    release = threading.Event()
    stuck = asyncio.create_task(executor.call(files, release.wait))
    await asyncio.sleep(0)
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await context.current()
    finally:
        release.set()
        await stuck
    first = await context.current()
    release.clear()
    stuck = asyncio.create_task(executor.call(files, release.wait))
    await asyncio.sleep(0)
    clock.advance(trust.CHECK_SECONDS)
    try:
        assert await context.current() is first
    finally:
        release.set()
        await stuck
