"""SSL contexts: which CAs are trusted, and which certificate is presented."""

import asyncio
import ssl
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import NamedTuple

from refresherd.domain import certificates
from refresherd.domain.certificates import Dates, Validity
from refresherd.domain.errors import Reason, Retryable
from refresherd.domain.model import Instant
from refresherd.engine.ports import Clock
from refresherd.host.keyed_executor import KeyedExecutor
from refresherd.host.os_errors import with_cure
from refresherd.host.source_files import file_stamp, read_source

CHECK_SECONDS = 1.0
"""The least time between two checks for changed files: there may be 1,000 requests a second."""

PATIENCE_SECONDS = 1.0
"""How long such a check may take before the last context is used instead."""


class TlsFiles(NamedTuple):
    """The files that an SSL context is made from."""

    ca_file: Path | None = None
    """None means the system's CAs."""
    cert_file: Path | None = None
    key_file: Path | None = None


class TlsContext:
    """The newest SSL context of some files. It is shared: each costs 20 ms and 831 KiB."""

    def __init__(
        self,
        files: TlsFiles,
        executor: KeyedExecutor,
        clock: Clock,
        *,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._files = files
        self._executor = executor
        self._clock = clock
        self._patience = patience
        self._context: ssl.SSLContext | None = None
        self._client_dates: Dates | None = None
        self._signature: list[object] = []
        self._checked_at = Instant(-inf)

    async def current(self) -> ssl.SSLContext:
        """Return the context of the files as they are now. Raises Retryable if one is unusable.

        If the disk hangs, it waits for the first context only; after that, it returns the last
        one, because an unreadable CA file is no reason to let tokens expire.
        """
        last = self._context
        now = self._clock.now()
        if last is None:
            last = await self._executor.call(self._files, self._read)
        elif now - self._checked_at >= CHECK_SECONDS:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    last = await self._executor.call(self._files, self._read)
        else:
            return last
        self._checked_at = now
        return last

    def expire(self) -> None:
        """Make the next call of `current` read changed files, however soon it comes."""
        self._checked_at = Instant(-inf)

    def cause_of_failures(self) -> str:
        """Return that the client certificate has expired, "" if it has not."""
        dates, now = self._client_dates, self._clock.wall(self._clock.now())
        if dates is None or certificates.validity(dates, now) is not Validity.EXPIRED:
            return ""
        return certificates.notice(dates, now)

    def _read(self) -> ssl.SSLContext:
        """Return the files' context. Only the executor calls it, one call at a time."""
        signature = [path and file_stamp(path) for path in self._files]
        if self._context is None or signature != self._signature:
            self._context = make_context(self._files)
            self._client_dates = _dates(self._files.cert_file)
            # The signature is older than the content, so a change in between is seen next time.
            self._signature = signature
        return self._context


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """Return a context that verifies the peer and its host name, with TLS 1.2 or newer.

    Not `ssl.create_default_context`, which writes session keys to $SSLKEYLOGFILE, and in some
    Python versions rejects private CAs that others accept. Raises Retryable.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if files.ca_file is None:
        context.load_default_certs()
    else:
        try:
            context.load_verify_locations(files.ca_file)
        except ssl.SSLError:
            message = f"ca_file {files.ca_file}: it holds no CA certificate in PEM format"
            raise Retryable(Reason.TLS, message) from None
        except OSError as error:
            message = f"ca_file {files.ca_file}: {with_cure(error)}"
            raise Retryable(Reason.TLS, message) from None
    if files.cert_file is not None and files.key_file is not None:
        _load_certificate(context, files.cert_file, files.key_file)
    return context


def _dates(cert_file: Path | None) -> Dates | None:
    """Return the dates of the client certificate, None if there is none."""
    if cert_file is not None:
        with suppress(OSError, ValueError):
            return certificates.dates(read_source(cert_file, certificates.LONGEST))
    return None


def _load_certificate(context: ssl.SSLContext, cert_file: Path, key_file: Path) -> None:
    for key, path in ("cert_file", cert_file), ("key_file", key_file):
        try:
            path.open("rb").close()
        except OSError as error:
            message = f"{key} {path}: {with_cure(error)}"
            raise Retryable(Reason.CREDENTIAL, message) from None
    try:
        # Without a password OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(cert_file, key_file, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            message = f"{key_file} is not the key of {cert_file}; replace one of them"
        else:
            message = (
                f"{cert_file} and {key_file} are not a certificate and its key without a "
                "password, both in PEM format"
            )
        raise Retryable(Reason.CREDENTIAL, message) from None
