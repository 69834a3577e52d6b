"""Does this look like an API key, or a token? A verdict that never repeats any of it."""

import re
from base64 import b64decode
from binascii import Error

from refresherd.domain import model

UUID = model.UUID.pattern.encode()
SHAPE = "base64 of <app uuid>:<secret>, as DSM shows it under the app's credentials"

PREFIXES = (
    (rb"(?i)authorization:", "`Authorization:` in front"),
    (rb"(?i)basic\s", "`Basic ` in front"),
    (rb"export\s", "`export` in front"),
    (rb"FORTANIX_API_KEY\s*=", "`FORTANIX_API_KEY=` in front"),
    (rb"SDKMS_API_KEY\s*=", "`SDKMS_API_KEY=` in front"),
    (rb"[A-Za-z_]\w*[ \t]*=[ \t]*[^=\s]", "a variable's name and `=` in front"),
    (rb"[\"']", "quotes around it"),
)

TOKEN = re.compile(rb"[A-Za-z0-9_.~+/-]{64,}=*")
"""DSM's tokens are 86 characters of base64url."""

NO_API_KEYS = (
    (rb"(?i)bearer\s", "it holds a bearer token; an API key logs in, a token is for token_file"),
    (UUID + rb"$", f"it holds an app's UUID alone; an API key is {SHAPE}"),
    (UUID + rb":\S+$", f"it holds <app uuid>:<secret> as they are; an API key is {SHAPE}"),
)


def api_key_fault(content: bytes) -> str:
    """Return what is wrong with an API key, "" if it looks like one. Space around it is no part."""
    key = content.strip()
    if is_api_key(key):
        return ""
    if extra := _extra(key):
        return extra
    for pattern, fault in NO_API_KEYS:
        if re.match(pattern, key):
            return fault
    if re.search(rb"\s", key):
        return "it holds more than one word or line; keep the key alone"
    if TOKEN.fullmatch(key):
        return f"it looks like a bearer token, or a broken copy of an API key, which is {SHAPE}"
    return f"it does not look like an API key, which is {SHAPE}"


def token_fault(content: bytes) -> str:
    """Return what is wrong with a bearer token, "" if it looks like one."""
    token = content.strip()
    if is_api_key(token):
        return "it holds an API key; name this file with api_key_file instead"
    if extra := _extra(token):
        return extra
    if re.match(rb"(?i)bearer\s", token):
        return "it has `Bearer ` in front; keep the token alone"
    if re.search(rb"\s", token):
        return "it holds more than one word; keep the token alone"
    return ""


def is_api_key(key: bytes) -> bool:
    """Return whether this is base64 of an app's UUID, a colon and a secret.

    Its URL-safe variant counts, and so does a key that lost its padding.
    """
    digits = key.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    try:
        plain = b64decode(digits + b"=" * (-len(digits) % 4), validate=True)
    except Error:
        return False
    return re.fullmatch(UUID + rb":.+", plain, re.DOTALL) is not None


def _extra(content: bytes) -> str:
    if not content:
        return "it is empty"
    for pattern, what in PREFIXES:
        if re.match(pattern, content):
            return f"it has {what}; keep the bare value alone"
    return ""
