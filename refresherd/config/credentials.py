"""Checks that each app has exactly one complete credential, and that its files contain one.

A function that ends in `_fault` returns what is wrong with a file's content, "" if nothing is. The
text never repeats any of the content.
"""

import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from refresherd.config.findings import Finding, listed
from refresherd.config.parse import AppSettings, Settings
from refresherd.config.scalars import Argument
from refresherd.domain.credential_formats import app_uuid

SINGLE = ("api_key_file", "api_key_credential", "api_key_env", "api_key_command", "token_file")
"""Keys that are a credential by themselves."""

CERTIFICATE = ("app_id", "cert_file", "key_file")
LDAP = ("acct_id", "app_name", "password_file")

TOGETHER = {"a certificate app": CERTIFICATE, "an LDAP app": LDAP}
"""Keys that are a credential together, by what needs them."""

WORD = re.compile(r"[A-Za-z0-9+/=_-]{52,}")
"""What may be an API key: base64 of a UUID, a colon and a secret."""

MISMATCHES = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"})
"""OpenSSL's reasons for a private key and a certificate that do not belong together."""


def check_credentials(settings: Settings) -> Iterator[Finding]:
    """Yield apps without exactly one credential, and credentials that lack another key."""
    for app in settings.apps:
        yield from _check_count(settings, app)
        if app.own.token_file and app.own.bind_to:
            yield Finding(
                (*app.path, "bind_to"),
                "an app with a token_file never logs in, and only a login can bind a session; "
                "remove bind_to, and put a token in the file whose session is bound already",
            )
    yield from _check_arguments(settings)


def certificate_fault(content: bytes) -> str:
    """Return what is wrong with the PEM certificate of a certificate app."""
    if b"-----BEGIN CERTIFICATE-----" not in content:
        return "it holds no PEM certificate; name the file with the certificate"
    return ""


def private_key_fault(content: bytes, path: Path, certificate: Path | None) -> str:
    """Return what is wrong with a PEM private key, at `path`, for a certificate if there is one."""
    if b"PRIVATE KEY-----" not in content:
        return "it holds no PEM private key; name the file with the key"
    if certificate is None:
        return ""

    def refuse_passphrase() -> NoReturn:
        # Without a callback, OpenSSL would ask for the passphrase on the terminal.
        raise EOFError

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(certificate, path, password=refuse_passphrase)
    except EOFError:
        return (
            "the private key is encrypted, and the daemon has no passphrase; decrypt it "
            "(openssl pkey) and keep the file private (chmod 0600)"
        )
    except (ssl.SSLError, OSError) as error:
        mismatch = getattr(error, "reason", "") in MISMATCHES
        problem = "does not belong to" if mismatch else "cannot be loaded together with"
        return f"it {problem} cert_file; name the private key of that certificate"
    return ""


def authorities_fault(path: Path) -> str:
    """Return what is wrong with a PEM file of certificate authorities."""
    try:
        ssl.create_default_context(cafile=path)
    except (ssl.SSLError, OSError):
        return (
            "it holds no PEM certificates that can be loaded; name a file of certificate "
            "authorities, each from BEGIN CERTIFICATE to END CERTIFICATE"
        )
    return ""


def _check_count(settings: Settings, app: AppSettings) -> Iterator[Finding]:
    written = [key for key in app.written if key in (*SINGLE, *CERTIFICATE, *LDAP)]
    # An invalid value counts: it was meant to be a credential.
    named = [
        key for key in written if getattr(app.own, key) or not settings.valid((*app.path, key))
    ]
    single = [key for key in named if key in SINGLE]
    together = {kind: [key for key in named if key in keys] for kind, keys in TOGETHER.items()}
    if not named:
        yield Finding(
            (*app.path, *written[:1]),
            f"no credential; write one of {', '.join(SINGLE)}, or {listed(CERTIFICATE, 'and')}, "
            f"or {listed(LDAP, 'and')}",
        )
    credentials = [*single, *(keys[0] for keys in together.values() if keys)]
    if len(credentials) > 1:
        yield Finding(
            (*app.path, credentials[-1]),
            f"{listed(credentials, 'and')} are set together; keep exactly one credential",
        )
    for kind, keys in together.items():
        lacking = [key for key in TOGETHER[kind] if key not in keys]
        if keys and lacking:
            yield Finding(
                (*app.path, keys[0]),
                f"missing: {listed(lacking, 'and')}; {kind} needs {listed(TOGETHER[kind], 'and')}",
            )


def _check_arguments(settings: Settings) -> Iterator[Finding]:
    for key, argument in settings.written(Argument):
        if any(map(app_uuid, WORD.findall(argument))):
            yield Finding(
                key,
                "it holds an API key, which every user of this host could read in the list of "
                "processes; put the key in a file (chmod 0600) and write its path as api_key_file",
            )
