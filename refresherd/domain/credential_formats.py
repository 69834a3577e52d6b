"""What API keys, tokens and passwords look like, and what is wrong with other contents.

White space around a key or a token is ignored, and one newline after a password. No fault repeats
any of the content.
"""

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Iterable

from refresherd.domain.model import B64TOKEN, UUID

APP_ID = UUID.pattern.encode()

API_KEY = re.compile(rb"(" + APP_ID + rb"):.+", re.DOTALL)
"""An API key without its base64."""

SHAPE = "base64 of <app uuid>:<secret>, as DSM shows it under the app's credentials"

TOKEN = rb"[A-Za-z0-9_.~+/-]{64,}=*$"
"""DSM's tokens are 86 characters of base64url."""

NOT_UTF_8 = (
    (rb"\xef\xbb\xbf", "it begins with a byte order mark; save it as UTF-8 without one"),
    (rb"\xff\xfe|\xfe\xff", "it is UTF-16 text; save it as UTF-8"),
)

NEITHER = (
    *NOT_UTF_8,
    (rb"(?s).*\0", "it holds NUL bytes; save it as plain text in UTF-8"),
    (rb"-----BEGIN ", "it is a PEM file; keep only the value itself"),
    (rb"[{\[]", "it looks like JSON; keep only the value itself"),
    (rb"(?i)authorization:", "it begins with `Authorization:`; keep only the value itself"),
    (rb"(?i)basic\s", "it begins with `Basic `; keep only the value itself"),
    (rb"export\s", "it begins with `export`; keep only the value itself"),
    (rb"FORTANIX_API_KEY\s*=", "it begins with `FORTANIX_API_KEY=`; keep only the value itself"),
    (rb"SDKMS_API_KEY\s*=", "it begins with `SDKMS_API_KEY=`; keep only the value itself"),
    (
        rb"[A-Za-z_]\w*[ \t]*=[ \t]*[^=\s]",
        "it begins with a variable name and `=`; keep only the value itself",
    ),
    (rb"[A-Za-z_][\w-]*:\s", "it begins with a name and `:`; keep only the value itself"),
    (rb"[\"'`]", "it begins with a quotation mark; keep only the value itself"),
    (rb"\S*[\"'`]\Z", "it ends with a quotation mark; keep only the value itself"),
    (rb"#", "it begins with a comment; keep only the value itself"),
    (rb"\S*\s", "it holds more than one word or line; keep only the value itself"),
    (rb"\S*[^\x21-\x7e]", "it holds a character that is not ASCII; copy the value again"),
)
"""What contents are neither an API key nor a token, and what is wrong with them."""

NOT_API_KEYS = (
    (rb"\Z", "it is empty; it must hold the API key"),
    (rb"(?i)bearer\s", "it holds a bearer token, not an API key; a token belongs in a token_file"),
    *NEITHER,
    (APP_ID + rb"$", f"it holds only an app's UUID; an API key is {SHAPE}"),
    (APP_ID + rb":\S+$", f"it holds <app uuid>:<secret> without base64; an API key is {SHAPE}"),
    (TOKEN, f"it looks like a bearer token or an incomplete API key; an API key is {SHAPE}"),
    (rb"", f"it does not look like an API key; an API key is {SHAPE}"),
)

NOT_TOKENS = (
    (rb"\Z", "it is empty; it must hold the token"),
    (rb"(?i)bearer\s", "it begins with `Bearer `; keep only the token"),
    *NEITHER,
    (rb"(?!" + B64TOKEN.pattern.encode() + rb"\Z)", "it holds a character that no token has"),
)


NOT_PASSWORDS = (
    *NOT_UTF_8,
    (rb"\s*\Z", "it is empty; it must hold the password"),
    (rb"(?s).*[\r\n]", "it holds more than one line; keep only the password"),
)


def app_uuid(key: str) -> str:
    """Return the app's UUID in an API key, in lower case, "" if this is no API key.

    DSM makes a key as base64 of the UUID, a colon and a secret. The URL-safe alphabet counts as
    well, and so does a key that lost its padding.
    """
    digits = key.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        plain = b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (Error, ValueError):
        return ""
    found = API_KEY.fullmatch(plain)
    return found[1].decode().lower() if found else ""


def api_key_fault(content: bytes) -> str:
    """Return what is wrong with an API key, "" if nothing is."""
    key = content.strip()
    return "" if _is_api_key(key) else _first_fault(key, NOT_API_KEYS)


def token_fault(content: bytes) -> str:
    """Return what is wrong with a token, "" if nothing is."""
    token = content.strip()
    if _is_api_key(token):
        return "it holds an API key; name this file as api_key_file"
    return _first_fault(token, NOT_TOKENS)


def password_fault(content: bytes) -> str:
    """Return what is wrong with a password, "" if nothing is; blanks are part of it."""
    line = without_newline(content)
    if fault := _first_fault(line, NOT_PASSWORDS):
        return fault
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return "it is not in UTF-8; save it as UTF-8"
    return "" if text.isprintable() else "it holds control characters; keep only the password"


def without_newline(content: bytes) -> bytes:
    """Return a password without the newline that editors end files with."""
    return content.removesuffix(b"\n").removesuffix(b"\r")


def _is_api_key(key: bytes) -> bool:
    return app_uuid(key.decode(errors="replace")) != ""


def _first_fault(content: bytes, faults: Iterable[tuple[bytes, str]]) -> str:
    return next((fault for pattern, fault in faults if re.match(pattern, content)), "")
