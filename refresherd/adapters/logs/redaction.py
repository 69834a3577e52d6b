"""Takes out of a text what looks like a credential, however it got there."""

import re

HIDDEN = "***"

SECRET_LENGTH = 58
"""No run of fewer characters is taken for a secret: UUIDs and request ids stay readable.

DSM's tokens are 86 characters of base64url; its API keys are base64 of a UUID, a colon and
a secret: 58 and their padding make the 60 of an unusually short one.
"""

LONGEST_NAME = 40
"""A part of an absolute path that is no longer than this, a UUID say, is a file's name."""

_TOKEN68 = r"[A-Za-z0-9._~+/-]+=*"  # RFC 7235
_SECRET = re.compile(
    rf"(?P<scheme>\b(?i:bearer|basic)\s+){_TOKEN68}"
    r"|(?P<authority>://)[^/?#@\s]*@"
    rf"|[A-Za-z0-9_+/-]{{{SECRET_LENGTH},}}=*"
)
_MIXED = re.compile(r"(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])")


def redact(text: str) -> str:
    """Return the text with `***` for all that may be a credential."""
    if len(text) < SECRET_LENGTH and not _may_be_marked(text):
        return text
    return _SECRET.sub(_hide, text)


def _may_be_marked(text: str) -> bool:
    """Tell in a fraction of the time that the search would take, for the many short values."""
    lowered = text.lower()
    return "bearer" in lowered or "basic" in lowered or "@" in text


def _hide(found: re.Match[str]) -> str:
    if found["scheme"]:
        return found["scheme"] + HIDDEN
    if found["authority"]:
        return found["authority"] + HIDDEN + "@"
    return found[0] if _is_path(found[0]) else HIDDEN


def _is_path(run: str) -> bool:
    """Tell a path by its short parts; base64 of that length has all kinds of characters.

    Neither DSM's tokens nor its API keys have a slash: base64 of a UUID and letters has none.
    """
    longest = max(map(len, run.split("/")))
    if run.startswith("/") and longest <= LONGEST_NAME:
        return True
    return longest < SECRET_LENGTH and not _MIXED.match(run)
