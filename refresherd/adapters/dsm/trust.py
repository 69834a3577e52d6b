"""Whom a connection trusts and who it says it is: SSL contexts, made anew when files change."""

import asyncio
import ssl
from dataclasses import dataclass
from math import inf
from pathlib import Path

from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import Instant
from refresherd.engine.ports import Clock
from refresherd.host.keyed_executor import KeyedExecutor

CHECK_SECONDS = 1.0
"""The files are looked at this often at most: not for each of a thousand requests a second."""

PATIENCE_SECONDS = 1.0
"""How long a disk may take to tell whether the files changed, while a good context is at hand."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The files of an SSL context. Without a CA file the system's CAs are trusted."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None


class Context:
    """The SSL context of one trust. One serves all: each costs 20 ms and 831 KiB."""

    def __init__(self, trust: Trust, executor: KeyedExecutor, clock: Clock) -> None:
        self._trust = trust
        self._executor = executor
        self._clock = clock
        self._context: ssl.SSLContext | None = None
        self._signature: tuple[object, ...] = ()
        self._checked_at = Instant(-inf)

    async def current(self) -> ssl.SSLContext:
        """Return the context of the files as they are now.

        Raises Retryable if one of them is of no use.
        """
        known = self._context
        now = self._clock.now()
        if known is not None and now - self._checked_at < CHECK_SECONDS:
            return known
        context = await (self._made() if known is None else self._remade(known))
        self._checked_at = now
        return context

    async def _made(self) -> ssl.SSLContext:
        return await self._executor.call(self._trust, self._read)

    async def _remade(self, known: ssl.SSLContext) -> ssl.SSLContext:
        """Return the known context if the disk hangs: that is no reason to let tokens run out."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await self._made()
        except TimeoutError:
            return known

    def _read(self) -> ssl.SSLContext:
        """Return the files' context; called in the trust's lane only, so one at a time."""
        signature = _signature(self._trust)
        if self._context is None or signature != self._signature:
            self._context = make_context(self._trust)
            # Taken before the files were read: what changes meanwhile is read the next time.
            self._signature = signature
        return self._context


def make_context(trust: Trust) -> ssl.SSLContext:
    """Return a context that verifies the peer and its host name, TLS 1.2 or newer.

    Raises Retryable. It is not `ssl.create_default_context`: that would write session keys
    to $SSLKEYLOGFILE, and be stricter about private CAs with some Python versions than others.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if trust.ca_file is None:
        context.load_default_certs()
    else:
        _load_ca(context, trust.ca_file)
    if trust.cert_file is not None and trust.key_file is not None:
        _load_certificate(context, trust.cert_file, trust.key_file)
    return context


def _load_ca(context: ssl.SSLContext, ca_file: Path) -> None:
    try:
        context.load_verify_locations(ca_file)
    except ssl.SSLError:
        raise Retryable(Reason.TLS, f"{ca_file}: holds no CA certificate in PEM") from None
    except OSError as error:
        raise Retryable(Reason.TLS, f"{ca_file}: {error.strerror}") from None


def _load_certificate(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    for path in (cert_file, key_file):
        try:
            path.open("rb").close()
        except OSError as error:
            raise Retryable(Reason.TLS, f"{path}: {error.strerror}") from None
    try:
        # With a password at hand OpenSSL does not ask the terminal for that of a locked key.
        context.load_cert_chain(cert_file, key_file, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            fault = "do not belong together"
        else:
            fault = "are not a certificate and its unlocked key, both in PEM"
        raise Retryable(Reason.TLS, f"{cert_file} and {key_file} {fault}") from None


def _signature(trust: Trust) -> tuple[object, ...]:
    return tuple(_file_signature(path) for path in (trust.ca_file, trust.cert_file, trust.key_file))


def _file_signature(path: Path | None) -> object:
    try:
        status = path.stat() if path else None
    except OSError:
        return "missing"
    return status and (status.st_mtime_ns, status.st_ino, status.st_size)
