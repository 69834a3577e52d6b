"""What an API key looks like."""

import re
from base64 import b64decode
from binascii import Error

from refresherd.domain.model import UUID

KEY = re.compile(f"({UUID.pattern}):.+".encode(), re.DOTALL)


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
    found = KEY.fullmatch(plain)
    return found[1].decode().lower() if found else ""
