"""SSL contexts made from real files."""

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

from refresherd.adapters.dsm.tls import CHECK_SECONDS, TlsContext, TlsFiles, make_context
from refresherd.domain.errors import Reason, Retryable
from refresherd.host.keyed_executor import KeyedExecutor
from support.dsm_loopback import Authority
from support.fakes import FakeClock

UNUSABLE = (
    "{cert_file} and {key_file} are not a certificate and its key without a password, "
    "both in PEM format"
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Return a CA."""
    return Authority(tmp_path)


def fault(files: TlsFiles, reason: Reason = Reason.TLS) -> str:
    """Return why no context can be made from these files."""
    with pytest.raises(Retryable) as caught:
        make_context(files)
    assert caught.value.reason is reason
    return caught.value.message


def test_a_context_verifies_the_certificate_and_the_host_name(authority: Authority) -> None:
    """No setting turns it off."""
    for files in (TlsFiles(), TlsFiles(authority.ca_file)):
        context = make_context(files)
        assert context.verify_mode is ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version is ssl.TLSVersion.TLSv1_2


def test_session_keys_are_not_logged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, authority: Authority
) -> None:
    """With such a file every token could be read off the wire."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert make_context(TlsFiles(authority.ca_file)).keylog_filename is None


def test_the_message_for_an_unusable_ca_file_names_it(tmp_path: Path) -> None:
    """The operator has to know which file to correct."""
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    assert fault(TlsFiles(junk)) == f"ca_file {junk}: it holds no CA certificate in PEM format"
    assert fault(TlsFiles(tmp_path / "none.pem")) == (
        f"ca_file {tmp_path}/none.pem: No such file or directory; create it, and it is read at once"
    )
    assert fault(TlsFiles(tmp_path)).startswith(f"ca_file {tmp_path}: Is a directory; ")


def junk(key_file: Path) -> None:
    """Write something into the file that is not a key."""
    key_file.write_text("junk")


def lock(key_file: Path) -> None:
    """Encrypt the key with a password, for which OpenSSL would ask the terminal."""
    key = load_pem_private_key(key_file.read_bytes(), None)
    locked = BestAvailableEncryption(b"password")
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))


def exchange(key_file: Path) -> None:
    """Replace the key by another certificate's."""
    (key_file.parent / "other").mkdir()
    _, other = Authority(key_file.parent / "other").issue()
    other.rename(key_file)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (junk, UNUSABLE),
        (lock, UNUSABLE),
        (exchange, "{key_file} is not the key of {cert_file}; replace one of them"),
    ],
)
def test_the_message_for_an_unusable_client_certificate_names_its_files(
    authority: Authority, spoil: Callable[[Path], None], message: str
) -> None:
    """A renewal may have replaced one file and not yet the other."""
    cert_file, key_file = authority.issue("app")
    spoil(key_file)
    files = TlsFiles(authority.ca_file, cert_file, key_file)
    assert fault(files, Reason.CREDENTIAL) == message.format(cert_file=cert_file, key_file=key_file)


@pytest.mark.parametrize("missing", [0, 1])
def test_the_message_for_a_missing_certificate_or_key_names_it(
    authority: Authority, missing: int
) -> None:
    """OpenSSL would not say which of the two is missing."""
    files = authority.issue("app")
    files[missing].unlink()
    message = fault(TlsFiles(None, *files), Reason.CREDENTIAL)
    key = ("cert_file", "key_file")[missing]
    assert message.startswith(f"{key} {files[missing]}: No such file or directory; create it, ")


async def test_a_context_is_shared_until_the_files_change(
    authority: Authority, tmp_path: Path
) -> None:
    """A context costs 20 ms and 831 KiB; the files are checked once a second at most."""
    clock = FakeClock()
    context = TlsContext(TlsFiles(authority.ca_file), KeyedExecutor(), clock)
    first = await context.current()
    assert await context.current() is first
    clock.advance(CHECK_SECONDS)
    assert await context.current() is first
    os.utime(authority.ca_file, ns=(0, 0))
    assert await context.current() is first
    clock.advance(CHECK_SECONDS)
    second = await context.current()
    assert second is not first
    authority.ca_file.rename(tmp_path / "elsewhere.pem")
    clock.advance(CHECK_SECONDS)
    for _ in range(2):
        with pytest.raises(Retryable):
            await context.current()
    (tmp_path / "elsewhere.pem").rename(authority.ca_file)
    assert (await context.current()).verify_mode is ssl.CERT_REQUIRED


async def test_concurrent_requests_at_the_start_share_a_context(authority: Authority) -> None:
    """A thousand apps start at once."""
    context = TlsContext(TlsFiles(authority.ca_file), KeyedExecutor(), FakeClock())
    made = await asyncio.gather(*[context.current() for _ in range(50)])
    assert {id(one) for one in made} == {id(made[0])}


async def test_the_last_context_is_used_while_the_disk_hangs(authority: Authority) -> None:
    """Tokens must not expire because a CA's file cannot be checked."""
    clock, executor = FakeClock(), KeyedExecutor()
    files = TlsFiles(authority.ca_file)
    context = TlsContext(files, executor, clock, patience=0.05)
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
    clock.advance(CHECK_SECONDS)
    try:
        assert await context.current() is first
    finally:
        release.set()
        await stuck
