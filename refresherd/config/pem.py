"""Certificates, private keys and authorities: PEM files that can be loaded."""

import ssl
from pathlib import Path
from typing import NoReturn

from refresherd.config.host import Unusable, read, refuse_open
from refresherd.config.wording import quoted

MISMATCHES = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"})
"""OpenSSL's reasons for a private key and a certificate that are not a pair."""


def judge_certificate(path: Path) -> None:
    """Raise Unusable for a file without a certificate."""
    content, _ = read(path)
    if b"-----BEGIN CERTIFICATE-----" not in content:
        raise Unusable(f"{quoted(str(path))} holds no PEM certificate; name the file that does")


def judge_private_key(path: Path, certificate: Path | None) -> None:
    """Raise Unusable for a file that is not private, or not the certificate's private key."""
    content, mode = read(path)
    refuse_open(path, mode)
    if b"PRIVATE KEY-----" not in content:
        raise Unusable(f"{quoted(str(path))} holds no PEM private key; name the file that does")
    if certificate is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(certificate, path, password=_no_passphrase)
    except (ssl.SSLError, OSError) as error:
        strangers = getattr(error, "reason", "") in MISMATCHES
        problem = (
            "does not belong to cert_file"
            if strangers
            else "cannot be loaded together with cert_file"
        )
        raise Unusable(
            f"{quoted(str(path))} {problem}; name the key that the certificate was made for"
        ) from None


def _no_passphrase() -> NoReturn:
    # Without this, OpenSSL would ask on the terminal.
    raise Unusable(
        "the private key is encrypted and nobody is there to type the passphrase; "
        "decrypt it (openssl pkey) and keep the file private"
    )


def judge_authorities(path: Path) -> None:
    """Raise Unusable for a file that TLS could not trust by."""
    read(path)
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError):
        raise Unusable(
            f"{quoted(str(path))} holds no PEM certificates that can be loaded; name a file of "
            "authorities, each from BEGIN CERTIFICATE to END CERTIFICATE"
        ) from None
