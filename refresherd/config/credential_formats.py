"""The contents of credential files: API keys, tokens, certificates, private keys, authorities.

Each function returns what is wrong, "" if nothing is, and never repeats any of the content.
"""

import re
import ssl
from base64 import b64decode
from binascii import Error
from pathlib import Path
from typing import NoReturn

from refresherd.domain import model

UUID = model.UUID.pattern.encode()
SHAPE = "base64 of <app uuid>:<secret>, as DSM shows it under the app's credentials"

PREFIXES = (
    (rb"(?i)authorization:", "`Authorization:`"),
    (rb"(?i)basic\s", "`Basic `"),
    (rb"export\s", "`export`"),
    (rb"FORTANIX_API_KEY\s*=", "`FORTANIX_API_KEY=`"),
    (rb"SDKMS_API_KEY\s*=", "`SDKMS_API_KEY=`"),
    (rb"[A-Za-z_]\w*[ \t]*=[ \t]*[^=\s]", "a variable name and `=`"),
    (rb"[\"']", "a quotation mark"),
)

TOKEN = re.compile(rb"[A-Za-z0-9_.~+/-]{64,}=*")
"""DSM's tokens are 86 characters of base64url."""

NOT_API_KEYS = (
    (rb"(?i)bearer\s", "it holds a bearer token, not an API key; a token belongs in a token_file"),
    (UUID + rb"$", f"it holds only an app's UUID; an API key is {SHAPE}"),
    (UUID + rb":\S+$", f"it holds <app uuid>:<secret> without base64; an API key is {SHAPE}"),
)

MISMATCHES = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"})
"""OpenSSL's reasons for a private key and a certificate that do not belong together."""


def api_key_fault(content: bytes) -> str:
    """Return what is wrong with an API key; white space around it is ignored."""
    key = content.strip()
    if _is_api_key(key):
        return ""
    if fault := _wrapping_fault(key):
        return fault
    for pattern, fault in NOT_API_KEYS:
        if re.match(pattern, key):
            return fault
    if re.search(rb"\s", key):
        return "it holds more than one word or line; keep only the key"
    if TOKEN.fullmatch(key):
        return f"it looks like a bearer token or an incomplete API key; an API key is {SHAPE}"
    return f"it does not look like an API key; an API key is {SHAPE}"


def token_fault(content: bytes) -> str:
    """Return what is wrong with a bearer token; white space around it is ignored."""
    token = content.strip()
    if _is_api_key(token):
        return "it holds an API key; use api_key_file for this file"
    if fault := _wrapping_fault(token):
        return fault
    if re.match(rb"(?i)bearer\s", token):
        return "it begins with `Bearer `; keep only the token"
    if re.search(rb"\s", token):
        return "it holds more than one word; keep only the token"
    return ""


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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_cert_chain(certificate, path, password=_refuse_passphrase)
    except _EncryptedKey:
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


class _EncryptedKey(Exception):
    """A private key that cannot be loaded without its passphrase."""


def _refuse_passphrase() -> NoReturn:
    # Without a callback, OpenSSL would ask for the passphrase on the terminal.
    raise _EncryptedKey


def _is_api_key(key: bytes) -> bool:
    """Return whether this is base64 of an app's UUID, a colon and a secret.

    The URL-safe alphabet counts as well, and so does a key that lost its padding.
    """
    digits = key.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        plain = b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except Error:
        return False
    return re.fullmatch(UUID + rb":.+", plain, re.DOTALL) is not None


def _wrapping_fault(content: bytes) -> str:
    if not content:
        return "it is empty"
    for pattern, extra in PREFIXES:
        if re.match(pattern, content):
            return f"it begins with {extra}; keep only the value itself"
    return ""
